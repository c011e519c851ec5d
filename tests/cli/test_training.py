"""`flywheel train mmdit` and `flywheel generate`, as a person runs them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from calling import Result, call
from PIL import Image
from safetensors.torch import load_file
from small_model import model, write_pictures

SMALL = {
    "network.in_channels": 16,
    "network.out_channels": 16,
    "network.num_layers": 2,
    "network.attention_head_dim": 8,
    "network.num_attention_heads": 2,
    "network.axes_dims_rope": [4, 2, 2],
    "optimizer.warm_up": 2,
    "steps": 4,
    "resolutions": [64],
    "tokens": 400,
    "edits": 0.25,
    "save_every": 2,
    "show_every": 2,
    "compile": False,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("training")
    model().save_pretrained(root / "model")
    write_pictures(root / "data", 12, edits=4)
    (root / "data" / "alone.png").write_bytes((root / "data" / "p000.png").read_bytes())
    return root


def arguments(place: Path, run: str, **changed: object) -> list[str]:
    said = [f"--set={name}={json.dumps(value)}" for name, value in {**SMALL, **changed}.items()]
    paths = ("--model", str(place / "model"), "--data", str(place / "data"), "--out", str(place / run))
    return ["train", "mmdit", "--recipe", "miniature", *paths, *said, "--json"]


def train(place: Path, run: str, *more: str, **changed: object) -> Result:
    return call(*arguments(place, run, **changed), *more)


def refused(result: Result, code: int, words: str) -> None:
    """The last line says so; lines before it tell how far the run was."""
    assert (result.code, result.raw) == (code, b""), (result.out, result.err)
    last = result.err.splitlines()[-1]
    assert last.startswith("flywheel: ")
    assert words in last


@pytest.fixture(scope="module")
def trained(place: Path) -> dict[str, object]:
    document: dict[str, object] = train(place, "run").json
    return document


def test_a_run_ends_with_what_it_did(place: Path, trained: dict[str, object]) -> None:
    run = place / "run"
    assert {name: trained[name] for name in ("steps", "examples", "edits", "left_out", "skipped")} == {
        "steps": 4,
        "examples": 12,
        "edits": 4,
        "left_out": {"without a caption": 1},
        "skipped": {},
    }
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(np.isfinite(line["loss"]) and line["loss"] > 0 for line in lines)
    assert lines[-1]["loss"] == trained["loss"]
    assert sorted(path.name for path in run.glob("step-*")) == ["step-00000002", "step-00000004"]
    for step in (2, 4):
        with Image.open(run / "grids" / f"step-{step:08}.png") as grid:
            assert grid.size == (3 * 66 - 2, 3 * 66 - 2)
    assert list((run / "tensorboard").iterdir())


def test_several_sources_are_one(place: Path, tmp_path: Path) -> None:
    """Names that both have stay apart: pictures from here, edits from there."""
    document = train(place, "several", "--data", str(shutil.copytree(place / "data", tmp_path / "more")), steps=1).json
    found = {name: document[name] for name in ("examples", "edits", "left_out")}
    assert found == {"examples": 24, "edits": 8, "left_out": {"without a caption": 2}}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "transformer" / "diffusion_pytorch_model.safetensors")


def test_a_run_that_goes_on_ends_with_the_same_weights(place: Path, trained: dict[str, object]) -> None:
    shutil.copytree(place / "run", place / "again")
    shutil.rmtree(place / "again" / "step-00000004")
    shutil.rmtree(place / "again" / "model")
    refused(train(place, "again"), 2, "holds a run: give --resume")
    document = train(place, "again", "--resume").json
    assert document["loss"] == trained["loss"]
    one, other = weights(place / "run"), weights(place / "again")
    assert all((one[name] == other[name]).all() for name in one)
    refused(train(place, "again", "--resume", seed=5), 1, "holds a run of another recipe")


WITHOUT_AN_ENGINE = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.split(".")[0] in ("ray", "prefect", "lancedb", "lance", "rapidocr", "onnxruntime", "diffusers", "peft")
        return None if absent else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from flywheel.cli import main
main()
"""


def test_a_trainers_machine_needs_no_engine(place: Path) -> None:
    def run(*said: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", WITHOUT_AN_ENGINE, *said], capture_output=True, text=True)

    told = run(*arguments(place, "alone", steps=1))
    assert told.returncode == 0, told.stderr[-2000:]
    assert json.loads(told.stdout)["steps"] == 1
    assert run("init", "-w", str(place / "workspace")).returncode == 0
    refused = run("up", "-w", str(place / "workspace"))
    assert refused.returncode == 1, refused.stderr
    assert "pip install 'flywheel-t2i[engine]'" in refused.stderr.splitlines()[-1]


@pytest.mark.slow
def test_two_workers_under_torchrun_end_as_one(place: Path) -> None:
    train(place, "one", accumulate=2).json  # noqa: B018 - it must have ended well
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "flywheel"]
    told = subprocess.run([*launch, *arguments(place, "two", accumulate=2)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr[-2000:]
    assert json.loads(told.stdout)["steps"] == 4
    one, two = weights(place / "one"), weights(place / "two")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-2, atol=1e-4, msg=name)


def test_what_does_not_fit_is_refused_in_one_line(place: Path, trained: dict[str, object], tmp_path: Path) -> None:
    refused(train(place, "x", **{"network.in_channels": 32}), 2, "has a network for 128 text and 32 latent channels")
    refused(train(place, "x", resolutions=[256]), 1, "nothing is left to train on: 16 below the lowest resolution")
    refused(train(place, "x", "--data", str(tmp_path / "none")), 2, "neither a folder nor a tar")
    refused(train(place, "x", "--data", "https://example.org/x"), 2, "ingest it and train on its snapshot")
    refused(train(place, "x", "--model", str(tmp_path)), 1, "holds no model_index.json")
    other = model()
    other.vae.fold.weight.data.mul_(1.001)
    other.save_pretrained(tmp_path / "other")
    cache = str(place / "run" / "cache")
    refused(train(place, "x", "--cache", cache, "--model", str(tmp_path / "other")), 1, "was made with autoencoder")


def test_an_autoencoder_is_trained_on_pictures_alone(place: Path) -> None:
    settings = {
        "network.z_dim": 16,
        "network.width": 32,
        "steps": 6,
        "pictures": 4,
        "optimizer.warm_up": 2,
        "save_every": 3,
        "show_every": 6,
    }
    said = [f"--set={name}={json.dumps(value)}" for name, value in settings.items()]
    where = ("--data", place / "data", "-o", place / "vae run")
    small = call("train", "vae", "--recipe", "miniature-vae", *where, *said)
    refused(small, 1, "no picture reaches 96 px")
    for at in range(3):
        Image.new("RGB", (120, 100), (at * 50, 90, 40)).save(place / "data" / f"large{at}.png")
    done = call("train", "vae", "--recipe", "miniature-vae", *where, *said, "--json").json
    assert done["steps"] == 6
    assert (place / "vae run" / "vae" / "config.json").is_file()
    refused(call("train", "vae", "--recipe", "miniature", *where), 2, "no recipe 'miniature' of an autoencoder")
    shown = call("recipe", "show", "vae", "--json").json
    assert [phase["side_px"] for phase in shown["phases"]] == [256, 256, 512, 1024]
    refused(call("train", "vae", "--recipe", "miniature-vae", *where, "--set", "phases=[1]"), 2, "a table of its own")


def test_pictures_are_made_where_they_are_asked_for(place: Path, trained: dict[str, object], tmp_path: Path) -> None:
    home, out = ("--model", str(place / "run" / "model")), tmp_path / "out"
    prompts = ("a big red star", "a small blue ring")
    first = call("generate", *prompts, *home, "-o", out, "--json").json["pictures"]
    assert [(one["prompt"], one["seed"]) for one in first] == [(prompts[0], 0), (prompts[1], 1)]
    pictures = [np.asarray(Image.open(one["file"])) for one in first]
    assert all(picture.shape == (64, 64, 3) for picture in pictures)
    again = call("generate", prompts[1], *home, "-o", out, "--seed", "1", "--json").json["pictures"]
    assert again[0]["file"] not in {one["file"] for one in first}
    assert np.abs(np.asarray(Image.open(again[0]["file"]), int) - pictures[1]).max() <= 1
    wide = call("generate", "x", *home, "-o", out, "--size", "96x64", "--steps", "1", "--guidance", "1", "--json")
    assert Image.open(wide.json["pictures"][0]["file"]).size == (96, 64)


def test_an_edit_has_the_shape_of_its_reference(place: Path, trained: dict[str, object], tmp_path: Path) -> None:
    home = ("--model", str(place / "run" / "model"))
    Image.new("RGB", (300, 200), "red").save(tmp_path / "wide.png")
    made = call("generate", "make it blue", "--image", tmp_path / "wide.png", *home, "-o", tmp_path, "--json").json
    assert Image.open(made["pictures"][0]["file"]).size == (80, 48)
    (tmp_path / "text.png").write_text("no picture")
    call("generate", "x", "--image", tmp_path / "text.png", *home, "-o", tmp_path).refused(1, "text.png cannot be used")
    call("generate", "x", "--image", tmp_path / "none.png", *home).refused(1, "none.png cannot be read")
    call("generate", "x", *home, "--size", "97x96").refused(2, "multiples of 16 px")
    call("generate", "x", *home, "--size", "large").refused(2, "a size is WIDTHxHEIGHT")
    eleven = [part for _ in range(11) for part in ("--image", str(tmp_path / "wide.png"))]
    call("generate", "x", *eleven, *home).refused(2, "at most 10 references, not 11")


def test_without_a_bundled_model_one_must_be_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("model.bundled.NAME", "none")
    call("generate", "x", "-o", tmp_path).refused(2, "give --model FOLDER")
