"""What the commands say and how they end: retry over a source that is gone, reports elsewhere, reasons, bad numbers."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import flywheel.cli

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: its exit code, stdout and stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["flywheel", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            flywheel.cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def picture(path: Path, shade: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.linear_gradient("L").rotate(shade).resize((300, 300)).save(path)
    return path


def test_retry_goes_on_past_a_source_that_is_gone_and_says_so(run: Run, tmp_path: Path) -> None:
    """Also: measuring names the reason of what it could not read."""
    ws = tmp_path / "ws"
    run("init", "-w", ws)
    for name in ("gone", "there"):
        picture(tmp_path / name / "a.png", len(name))
        run("ingest", tmp_path / name, "-w", ws, "--workers", "1")
    shutil.rmtree(tmp_path / "gone")
    code, out, _ = run("measure", "native", "-w", ws, "--workers", "1")
    assert code == 0
    assert "content_changed" in out
    config = (ws / "flywheel.toml").read_text()
    (ws / "flywheel.toml").write_text(config.replace("decode_s = 20.0", "decode_s = 0.000001"))
    for name in ("lost", "there"):
        picture(tmp_path / name / "b.png", 40 + len(name))
        run("ingest", tmp_path / name, "-w", ws, "--workers", "1")
    (ws / "flywheel.toml").write_text(config)
    shutil.rmtree(tmp_path / "lost")
    code, out, err = run("retry", "-w", ws, "--workers", "1", "--json")
    assert code == 1
    assert json.loads(out)[0]["counts"]["new"] == 1
    assert err.count("\n") == 1
    assert err.startswith("flywheel: not tried again")
    assert "lost cannot be read" in err


def test_a_report_written_elsewhere_is_told_when_it_shows_what_is_forgotten(run: Run, tmp_path: Path) -> None:
    ws = tmp_path / "ws"
    run("init", "-w", ws)
    picture(tmp_path / "pictures/a.png", 5)
    run("ingest", tmp_path / "pictures", "-w", ws, "--workers", "1")
    code, _, err = run("report", "-w", ws, "--to", tmp_path / "page.html")
    assert code == 0, err
    code, out, err = run("forget", tmp_path / "pictures/a.png", "--yes", "-w", ws)
    assert code == 0, err
    assert f"still held by the report {(tmp_path / 'page.html').as_uri()}: 1 images" in out
    code, _, err = run("runs", "retract", "nothing", "-w", ws)
    assert (code, err.count("\n")) == (2, 1)


def test_a_negative_number_of_workers_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    run("init", "-w", tmp_path / "ws")
    code, out, err = run("ingest", tmp_path, "-w", tmp_path / "ws", "--workers", "-3")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "--workers" in err
