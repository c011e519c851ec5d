"""Tensors that are computed once: by name, in safetensors files that are written whole and never changed.

A store belongs to what made its tensors (`identity`: the encoder's hash, the template, the precision …). It is refused to a
run that would make others, and so is a file that came from another store.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from flywheel.errors import FlywheelError
from flywheel.seeds import stable_hash
from model.pretrained import write_json

_ABOUT, _IDENTITY = "about.json", "identity"
_FILE_BYTES = 256 << 20  # our choice: what is lost when a run is killed, and what a file holds


class Store:
    """Raises FlywheelError where the folder belongs to another identity, in words that say which part differs."""

    def __init__(self, folder: Path, identity: Mapping[str, str]) -> None:
        self._folder, self._digest = folder, stable_hash(dict(identity))
        self._pending: dict[str, Tensor] = {}
        self._pending_bytes = 0
        self._files: dict[Path, Any] = {}
        self._places: dict[str, Path] = {}
        self._claim(identity)
        self.look_again()

    def look_again(self) -> None:
        """For what others have added."""
        for path in sorted(self._folder.glob("*.safetensors")):
            if path not in self._files:
                self._adopt(path)

    def __contains__(self, name: str) -> bool:
        return name in self._places or name in self._pending

    def __getitem__(self, name: str) -> Tensor:
        """Raises FlywheelError for a name that is not there, and for a file that can no longer be read."""
        if name in self._pending:
            return self._pending[name]
        if name not in self._places:
            raise FlywheelError(f"{self._folder} lacks {name}: start again, it is made anew")
        path = self._places[name]
        try:
            found: Tensor = self._files[path].get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise FlywheelError(f"{path} can no longer be read: {error}; remove it and start again") from error
        return found

    def add(self, name: str, tensor: Tensor) -> None:
        self._pending[name] = tensor.detach().cpu().contiguous()
        self._pending_bytes += self._pending[name].nbytes
        if self._pending_bytes >= _FILE_BYTES:
            self.flush()

    def flush(self) -> None:
        """What was added, to the disk. Raises FlywheelError where that is full; nothing that was there is lost."""
        if not self._pending:
            return
        path = self._folder / f"{stable_hash(sorted(self._pending))}.safetensors"
        aside = path.with_name(f".{path.name}.aside")
        try:
            save_file(self._pending, aside, metadata={_IDENTITY: self._digest})
            os.replace(aside, path)
        except (OSError, SafetensorError) as error:
            aside.unlink(missing_ok=True)
            raise FlywheelError(f"{self._folder} cannot be written to: {error}") from error
        self._pending, self._pending_bytes = {}, 0
        self._adopt(path)

    def _claim(self, identity: Mapping[str, str]) -> None:
        about = self._folder / _ABOUT
        try:
            held = json.loads(about.read_text(encoding="utf-8")) if about.is_file() else None
        except (OSError, ValueError) as error:
            raise FlywheelError(f"{about} cannot be read: {error}") from error
        if held is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json(about, dict(identity))
        elif held != dict(identity):
            name = next(name for name in (*identity, *held) if held.get(name) != identity.get(name))
            raise FlywheelError(
                f"{self._folder} was made with {name} {held.get(name)}, this run has {identity.get(name)}: "
                "give another --cache, or remove it"
            )

    def _adopt(self, path: Path) -> None:
        try:
            file: Any = safe_open(path, "pt")
            digest = (file.metadata() or {}).get(_IDENTITY)
        except (OSError, SafetensorError) as error:
            raise FlywheelError(f"{path} cannot be read: {error}; remove it and start again") from error
        if digest != self._digest:
            raise FlywheelError(f"{path} was made by another encoder than the rest of its folder: remove it")
        self._files[path] = file
        self._places |= dict.fromkeys(file.keys(), path)
