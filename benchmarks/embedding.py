"""The embedding pass against the bare network: what decoding, processes and tables cost on top."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.figures import Figure, Findings
from flywheel.encoders.clip import WEIGHTS, open_clip_from, write_config
from pipelines import embedding
from pipelines.executors import executor
from pipelines.ingest import ingest
from pipelines.judging import init_workspace, open_workspace
from pipelines.measure import measure

PICTURES, SIDE_PX, BATCH = 384, 640, 64
SHARE = 0.9
_NAME, _ARCHITECTURE = "clip-vit-b-32-1", "ViT-B-32-quickgelu"


def run(place: Path) -> Findings:
    """Photograph-like JPEGs through `embed` with a ViT-B/32 of random weights: as slow as the published one."""
    os.environ["FLYWHEEL_MODELS"] = str(place / "models")
    folder = _weights(place / "models" / _NAME)
    _pictures(place / "images")
    workspace = str(place / "workspace")
    init_workspace(workspace, "cpu")
    opened = open_workspace(workspace)
    ingest(opened, [str(place / "images")], executor("local", 2), _quiet)
    measure(opened, "native", executor("local", 2), _quiet)
    bare = _bare(folder)
    began = time.monotonic()
    report = embedding.embed(opened, executor("local", 2), _quiet)
    passed = report.counts["embedded"] / (time.monotonic() - began)
    figures = [
        Figure(name="the pass, of the bare network's throughput", measured=passed / bare, unit="", target=SHARE),
        Figure(name="the pass", measured=passed, unit="images/s", note=f"{report.counts['embedded']} images"),
        Figure(name="the bare network", measured=bare, unit="images/s", note=f"batches of {BATCH}, pixels in memory"),
    ]
    how = f"{PICTURES} JPEGs of {SIDE_PX} px, {_ARCHITECTURE} in float32, {torch.get_num_threads()} threads; wall time."
    return Findings(title="The embedding pass", how=how, figures=figures)


def _weights(folder: Path) -> Path:
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    model = open_clip.create_model(_ARCHITECTURE, pretrained=None)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / WEIGHTS)
    write_config(folder, _ARCHITECTURE)
    return folder


def _pictures(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(1)
    for at in range(PICTURES):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3)).astype(np.uint8))
        fine = rng.normal(0, 8, (SIDE_PX, SIDE_PX, 3))
        pixels = np.asarray(coarse.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)) + fine
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{at:04}.jpg", quality=85)


def _bare(folder: Path) -> float:
    """Images a second."""
    encoder = open_clip_from(folder)
    batch = [np.zeros((encoder.fit.side_px, encoder.fit.side_px, 3), np.uint8)] * BATCH
    encoder.images(batch)
    began = time.monotonic()
    for _ in range(PICTURES // BATCH):
        encoder.images(batch)
    return PICTURES / (time.monotonic() - began)


def _quiet(step: str, done: int, total: int | None, counts: object) -> None: ...
