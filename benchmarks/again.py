"""A second curate over what is already curated."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks import meter
from benchmarks.figures import Figure, Findings
from filters.planted.render import render
from pipelines.judging import open_workspace

IMAGES = 400
REPEATS = 3
TARGET_S = 3.0


def run(place: Path) -> Findings:
    """Time it, then overwrite every picture with zeros, same size and time: who reads a pixel must notice."""
    render(place, seed=1, images=IMAGES)
    source, workspace = str(place / "images"), str(place / "ws")
    command = meter.flywheel("curate", source, "-w", workspace)
    meter.run(meter.flywheel("init", "-w", workspace, "--profile", "cpu"))
    first = meter.run(command)
    again = meter.repeated(REPEATS, lambda: meter.run(command))
    before = _versions(workspace)
    for path in sorted((place / "images").rglob("*")):
        if path.is_file() and not path.is_symlink():
            _blank(path)
    meter.run(command)
    changed = sorted(name for name, version in _versions(workspace).items() if version != before[name])
    figures = [
        Figure(name="second curate: processor", measured=again.cpu_s, unit="CPU-s", target=TARGET_S, below=True),
        Figure(name="second curate: wall", measured=again.wall_s, unit="s", target=TARGET_S, below=True),
        Figure(name="first curate: processor", measured=first.cpu_s, unit="CPU-s", note=f"{first.wall_s:.1f} s wall"),
        Figure(
            name="tables that a curate over blanked pictures changed",
            measured=len(changed),
            unit="tables",
            target=1,
            below=True,
            note=", ".join(changed) or "it read no pixel",
        ),
    ]
    how = (
        f"The {IMAGES} files of the sample set, curated, then curated again; median of {REPEATS}. Then every picture was overwritten "
        "with zeros, its size and time kept, and curated once more: a run that reads a pixel would reject it."
    )
    return Findings(title="Nothing new", how=how, figures=figures)


def _versions(workspace: str) -> dict[str, int]:
    return open_workspace(workspace).tables.versions()


def _blank(path: Path) -> None:
    held = path.stat()
    path.write_bytes(bytes(held.st_size))
    os.utime(path, ns=(held.st_atime_ns, held.st_mtime_ns))
