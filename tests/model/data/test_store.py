"""What was computed once is found again, and only by those who would compute the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flywheel.errors import FlywheelError
from model.data.store import Store

WHO = {"encoder": "abc", "precision": "float16"}


def test_what_was_added_is_there_before_and_after_a_flush_and_in_another_run(tmp_path: Path) -> None:
    store = Store(tmp_path, WHO)
    store.add("one", torch.arange(6).reshape(2, 3))
    assert "one" in store
    assert torch.equal(store["one"], torch.arange(6).reshape(2, 3))
    store.flush()
    store.add("two", torch.ones(2))
    store.flush()
    again = Store(tmp_path, WHO)
    assert "two" in again
    assert torch.equal(again["one"], torch.arange(6).reshape(2, 3))
    with pytest.raises(FlywheelError, match="lacks three"):
        again["three"]


def test_another_encoders_store_is_refused_and_says_why(tmp_path: Path) -> None:
    store = Store(tmp_path, WHO)
    store.add("one", torch.ones(2))
    store.flush()
    with pytest.raises(FlywheelError, match="made with encoder abc, this run has xyz: give another --cache"):
        Store(tmp_path, {**WHO, "encoder": "xyz"})
    with pytest.raises(FlywheelError, match="made with precision float16, this run has bfloat16"):
        Store(tmp_path, {**WHO, "precision": "bfloat16"})


def test_a_file_of_another_store_is_refused(tmp_path: Path) -> None:
    other = Store(tmp_path / "other", {"encoder": "xyz"})
    other.add("one", torch.ones(2))
    other.flush()
    Store(tmp_path / "own", WHO)
    (file,) = (tmp_path / "other").glob("*.safetensors")
    file.rename(tmp_path / "own" / file.name)
    with pytest.raises(FlywheelError, match="another encoder than the rest of its folder"):
        Store(tmp_path / "own", WHO)
    (tmp_path / "own" / file.name).write_bytes(b"broken")
    with pytest.raises(FlywheelError, match="cannot be read"):
        Store(tmp_path / "own", WHO)


def test_a_disk_that_takes_no_more_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, WHO)
    store.add("one", torch.ones(2))
    store.flush()

    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model.data.store.save_file", full)
    store.add("two", torch.ones(2))
    with pytest.raises(FlywheelError, match="cannot be written to"):
        store.flush()
    again = Store(tmp_path, WHO)
    assert "one" in again
    assert "two" not in again
