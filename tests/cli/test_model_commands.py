"""The commands about models and search, on a machine that has none: what can be done is done, the rest says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from calling import call
from PIL import Image
from safetensors.numpy import save_file

from captioners import CAPTIONERS
from flywheel.cli.data_commands import KINDS
from flywheel.workspace.config import CaptionerSection


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYWHEEL_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two images with captions of their own, in a workspace whose profile has no weights here."""
    (tmp_path / "images").mkdir()
    for name, colour in (("barn", "red"), ("lake", "blue")):
        Image.new("RGB", (300, 300), colour).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "images" / f"{name}.txt").write_text(f"a {colour} {name}")
    where = tmp_path / "ws"
    call("init", "-w", where, "--profile", "cpu")
    call("ingest", tmp_path / "images", "-w", where)
    return where


def test_kinds_have_one_list() -> None:
    assert set(KINDS) == set(CAPTIONERS)
    configured = CaptionerSection.model_fields["kinds"].annotation
    assert set(get_args(get_args(configured)[0])) == set(CAPTIONERS)


@pytest.mark.parametrize("command", ["embed", "caption"])
def test_without_weights_a_step_does_nothing_and_says_what_to_do(place: Path, command: str) -> None:
    told = call(command, "-w", place)
    assert told.code == 0
    assert "flywheel doctor" in told.out
    assert call(
        "sql", "SELECT count(*) AS n FROM runs WHERE step IN ('embed', 'caption')", "-w", place, "--json"
    ).json == [{"n": 0}]


def test_a_kind_that_is_none_is_a_wrong_call(place: Path) -> None:
    call("caption", "--kinds", "general,poetry", "-w", place).refused(2, "no kind poetry")


def test_captions_that_came_along_are_found_without_any_model(place: Path) -> None:
    assert call("index", "-w", place).code == 0
    found = call("search", "red barn", "-w", place, "--json").json
    assert found["mode"] == "text"
    assert found["hits"][0]["uri"].endswith("/barn.png")
    assert found["lag"] == {}
    call("search", "--image", place.parent / "images" / "barn.png", "-w", place).refused(1, "flywheel doctor")


def test_a_search_is_kept_as_a_tag_and_a_page(place: Path, tmp_path: Path) -> None:
    call("index", "-w", place)
    found = call("search", "lake", "-w", place, "--json", "--html", tmp_path / "found.html").json
    page = (tmp_path / "found.html").read_text()
    assert "a blue lake" in page
    assert "data:image/jpeg;base64," in page
    (tmp_path / "found.json").write_text(json.dumps(found))
    assert call("tag", "wet", "--from-search", tmp_path / "found.json", "-w", place, "--json").json["tagged"] == 1
    listed = call("sql", "SELECT image_id FROM scores WHERE list_contains(tags, 'wet')", "-w", place, "--json").json
    assert [row["image_id"] for row in listed] == [found["hits"][0]["image_id"]]
    call("tag", "wet", "-w", place).refused(2, "--where CONDITION or --from-search FILE")
    call("tag", "wet", "--from-search", tmp_path / "found.html", "-w", place).refused(2, "flywheel search --json")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say what to search"),
        (["x", "--mode", "guess"], "no mode 'guess'"),
        (["--image", "nowhere.png"], "cannot read nowhere.png"),
        (["x", "--where", "no such column"], "not a condition"),
        (["--failure", "f1"], "f1"),
    ],
)
def test_a_wrong_search_is_a_wrong_call(place: Path, arguments: list[str], words: str) -> None:
    call("search", *arguments, "-w", place).refused(2, words)


def test_doctor_names_what_abstains_and_a_line_for_each(place: Path) -> None:
    told = call("doctor", "-w", place, "--json").json
    findings = {finding["what"]: finding for finding in told["findings"]}
    assert findings["clip"]["mends"] == "flywheel models pull clip-vit-b-32-1"
    assert findings["nsfw"]["mends"] == "flywheel models add nsfw-vit-b-32-1 PATH"
    assert "vllm serve" in findings["captioner"]["mends"]
    assert all(finding["mends"] for finding in findings.values() if not finding["ok"])
    assert len(told["serve"]) == 2


def test_weights_are_listed_added_and_verified(home: Path, tmp_path: Path) -> None:
    save_file({"weight": np.ones((1, 8), np.float32), "bias": np.zeros(1, np.float32)}, tmp_path / "head.safetensors")
    added = call("models", "add", "mine", tmp_path / "head.safetensors", "--json").json
    assert Path(added["place"]).parent == home
    assert "mine" in {one["name"] for one in call("models", "list", "--json").json["weights"]}
    assert call("models", "verify").code == 0
    Path(added["place"]).write_bytes(b"gone")
    broken = call("models", "verify")
    assert broken.code == 1
    assert "mine.safetensors has changed" in broken.out
    call("models", "add", "other", tmp_path / "nowhere").refused(2, "nothing is at")
    call("models", "pull", "nobody").refused(2, "no publisher")
