"""`main()` as the shell calls it, in this process."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import flywheel.cli


@dataclass(frozen=True)
class Result:
    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    def refused(self, code: int, words: str) -> None:
        """One line on stderr that says `words`, nothing on stdout."""
        assert self.code == code, (self.code, self.out, self.err)
        assert self.raw == b""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("flywheel: ")
        assert words in self.err, self.err


def call(*arguments: str | Path, stdin: str = "") -> Result:
    """Run the command in this process, as its entry point does."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["flywheel", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended:
            flywheel.cli.main()
        out.flush()
        err.flush()
    assert isinstance(out.buffer, io.BytesIO)
    assert isinstance(err.buffer, io.BytesIO)
    return Result(int(ended.value.code or 0), out.buffer.getvalue(), err.buffer.getvalue().decode())
