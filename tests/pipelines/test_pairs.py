"""Edit pairs: what a line may look like, and how it stands after each attempt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from typer.testing import CliRunner

from filters.scorers import SCORERS
from flywheel.cli.app import app
from flywheel.errors import SourceError
from flywheel.workspace import Workspace
from flywheel.workspace.tables import FencedTable
from pipelines.executors import executor
from pipelines.ingest import ingest
from pipelines.judging import init_workspace, open_workspace
from pipelines.measure import measure
from pipelines.pairs import INSTRUCTION, REFERENCES, TARGET, add_pairs, pairs_under
from pipelines.policies import active_policy


def silent(step: str, done: int, total: int | None, counts: object) -> None: ...


def picture(seed: int, edited: bool = False) -> Image.Image:
    """Soft blobs; edited, a quarter of them are others."""
    blobs = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    if edited:
        blobs[:6, :6] = np.random.default_rng(seed + 1).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(blobs).resize((300, 300), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, and beside their folder a workspace that knows them."""
    folder = tmp_path_factory.mktemp("pairs") / "pictures"
    folder.mkdir()
    for name, image in (("before", picture(1)), ("after", picture(1, edited=True)), ("other", picture(9))):
        image.save(folder / f"{name}.png")
    ingest(init_workspace(str(folder.parent / "ws"), "cpu"), [str(folder)], executor("local", 1), silent)
    return folder


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Workspace:
    """A copy of the workspace to change."""
    shutil.copytree(folder.parent / "ws", tmp_path / "ws")
    return open_workspace(str(tmp_path / "ws"))


@pytest.fixture
def line(folder: Path) -> dict[str, Any]:
    places = {"references": [str(folder / "before.png")], "target": str(folder / "after.png")}
    return places | {"instruction": "make a corner another one"}


def counts(workspace: Workspace, listing: Path, *lines: dict[str, Any] | str) -> dict[str, int]:
    """What became of the lines, less what is zero; without lines the listing stays as it is."""
    if lines:
        listing.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in lines))
    return {name: value for name, value in add_pairs(workspace, listing, "edits", silent).counts.items() if value}


def contents(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """The tables that pairs are written to; keys are unique."""
    tables = {"pairs": "pair_id", "pair_scores": "pair_id, version", "outcomes": "subject_id, config_hash, attempt"}
    found = {}
    for name, key in tables.items():
        only = "WHERE step = 'pairs'" if name == "outcomes" else ""
        twice = workspace.query(f"SELECT {key} FROM {name} {only} GROUP BY ALL HAVING count(*) > 1")
        assert twice.num_rows == 0, name
        found[name] = workspace.query(f"SELECT * FROM {name} {only} ORDER BY ALL").to_pylist()
    return found


def rejects(workspace: Workspace) -> list[tuple[str, str]]:
    rows = workspace.query("SELECT reason, detail FROM rejects WHERE step = 'pairs' ORDER BY detail").to_pylist()
    return [(row["reason"], row["detail"]) for row in rows]


def test_all_the_names_that_listings_use_say_the_same_pair(
    own: Workspace, tmp_path: Path, line: dict[str, Any]
) -> None:
    source, target, words = line["references"][0], line["target"], line["instruction"]
    named = [{a: source, b: target, c: words} for a, b, c in product(REFERENCES, TARGET, INSTRUCTION)]
    named += [line, {"image": source, "edited": target, "text": words, "source": "where it was found", "kind": "edit"}]
    named += [{"references": None, "image": [source], "target": target, "edit": words}]
    assert counts(own, tmp_path / "l.jsonl", *named) == {"in": len(named), "new": 1, "known": len(named) - 1}
    tables = contents(own)
    assert (len(tables["pairs"]), len(tables["pair_scores"])) == (1, 1)
    assert 0.25 < tables["pair_scores"][0]["consistency"] < 0.9995


def test_paths_are_relative_to_the_listing_and_ids_and_uris_are_names_too(
    own: Workspace, folder: Path, line: dict[str, Any]
) -> None:
    listing = folder.parent / "beside.jsonl"
    target = own.query(f"SELECT image_id FROM sources WHERE uri = '{(folder / 'after.png').as_uri()}'")["image_id"][0]
    by_path = line | {"references": "pictures/before.png", "target": "pictures/after.png"}
    by_id = line | {"references": (folder / "before.png").as_uri(), "target": target.as_py()}
    assert counts(own, listing, by_path, by_id, line) == {"in": 3, "new": 1, "known": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"instruction": ""},
        {"instruction": " \t"},
        {"instruction": 7},
        {"instruction": "half a \ud83d"},
        {"target": None},
        {"target": ["a", "b"]},
        {"references": []},
        {"references": ["a", 3]},
    ],
)
def test_a_line_without_its_three_parts_is_a_bad_listing(
    change: dict[str, Any], own: Workspace, tmp_path: Path, line: dict[str, Any]
) -> None:
    bad = {"in": 1, "rejected": 1, "rejected:bad_listing": 1}
    assert counts(own, tmp_path / "l.jsonl", line | change) == bad
    assert rejects(own) == [
        ("bad_listing", "l.jsonl, line 1: needs references, target and instruction, none of them empty")
    ]
    assert counts(own, tmp_path / "other.jsonl", "[1, 2]", "{not json") == dict.fromkeys(bad, 2)


def test_a_listing_that_is_not_there_is_refused(own: Workspace, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot read"):
        add_pairs(own, tmp_path / "nowhere.jsonl", "edits", silent)


def test_a_line_is_looked_at_again_until_its_images_are_there(
    own: Workspace, tmp_path: Path, line: dict[str, Any]
) -> None:
    listing, late = tmp_path / "l.jsonl", tmp_path / "late"
    missing = {"in": 2, "rejected": 1, "rejected:missing": 1}
    assert counts(own, listing, line, line | {"target": str(late / "late.png")}) == missing | {"new": 1}
    ((reason, detail),) = rejects(own)
    assert (reason, detail) == ("missing", f"l.jsonl, line 2: not ingested here: {late / 'late.png'}")
    before = own.tables.versions()
    assert counts(own, listing) == missing | {"known": 1}
    assert own.tables.versions() == before, "nothing new was said"
    late.mkdir()
    picture(5).save(late / "late.png")
    ingest(own, [str(late)], executor("local", 1), silent)
    assert counts(own, listing) == {"in": 2, "known": 1, "new": 1}
    assert rejects(own) == []
    attempts = own.query(
        "SELECT list(attempt ORDER BY attempt) AS a FROM outcomes WHERE step = 'pairs' GROUP BY subject_id ORDER BY 1"
    )
    assert attempts["a"].to_pylist() == [[1], [1, 2]]
    assert counts(own, listing) == {"in": 2, "known": 2}


def test_a_line_that_was_mended_is_a_reject_no_more(own: Workspace, tmp_path: Path, line: dict[str, Any]) -> None:
    listing = tmp_path / "l.jsonl"
    assert counts(own, listing, line, line | {"instruction": ""})["rejected"] == 1
    assert counts(own, listing, line, line | {"instruction": "add a moon"}) == {"in": 2, "known": 1, "new": 1}
    assert rejects(own) == []
    # A line that moves down is the same pair at another place.
    assert counts(own, listing, "{broken", line) == {"in": 2, "known": 1, "rejected": 1, "rejected:bad_listing": 1}
    assert len(contents(own)["pairs"]) == 2


def test_a_pair_that_was_taken_back_is_new_again(own: Workspace, tmp_path: Path, line: dict[str, Any]) -> None:
    counts(own, tmp_path / "l.jsonl", line)
    whole = contents(own)
    own.tables.delete_keys("pairs", pa.table({"pair_id": [whole["pairs"][0]["pair_id"]]}), run_id="test")
    assert counts(own, tmp_path / "l.jsonl") == {"in": 1, "new": 1}
    again = contents(own)
    assert (again["pairs"], again["pair_scores"]) == (whole["pairs"], whole["pair_scores"])


def test_scores_follow_the_thumbnails_that_they_are_made_of(
    own: Workspace, tmp_path: Path, line: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts(own, tmp_path / "l.jsonl", line)
    whole = contents(own)["pair_scores"]
    monkeypatch.setitem(SCORERS, "phash", replace(SCORERS["phash"], version="phash-99"))
    assert counts(own, tmp_path / "l.jsonl") == {"in": 1, "known": 1}
    assert contents(own)["pair_scores"] == []
    measure(own, "scaled", executor("local", 1), silent)
    assert counts(own, tmp_path / "l.jsonl") == {"in": 1, "known": 1}
    assert contents(own)["pair_scores"] == whole
    assert add_pairs(own, tmp_path / "l.jsonl", "edits", silent).run_id is None


def killed_before(table: str) -> Callable[[FencedTable, pa.Table], None]:
    whole = FencedTable.append

    def append(self: FencedTable, new: pa.Table) -> None:
        if self._name == table:
            raise KeyboardInterrupt
        whole(self, new)

    return append


@pytest.mark.parametrize("table", ["pair_scores", "pairs", "outcomes"])
def test_killed_and_started_again_it_ends_with_the_same_tables(
    table: str, own: Workspace, folder: Path, tmp_path: Path, line: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, Any]] = [line, line | {"instruction": "other words"}, line, {}]
    shutil.copytree(folder.parent / "ws", tmp_path / "undisturbed")
    undisturbed = open_workspace(str(tmp_path / "undisturbed"))
    counts(undisturbed, tmp_path / "l.jsonl", *lines)
    with monkeypatch.context() as patch:
        patch.setattr(FencedTable, "append", killed_before(table))
        with pytest.raises(KeyboardInterrupt):
            counts(own, tmp_path / "l.jsonl")
    counts(own, tmp_path / "l.jsonl")
    assert contents(own) == contents(undisturbed)
    assert len(contents(own)["pair_scores"]) == 2


def test_the_command_tells_reasons_and_counts_pairs_at_every_stage(
    own: Workspace, folder: Path, tmp_path: Path, line: dict[str, Any]
) -> None:
    unrelated = line | {"target": str(folder / "other.png")}
    listing = tmp_path / "l.jsonl"
    counts(own, listing, line, unrelated, "{broken")
    stages = pairs_under(own, active_policy(own))
    assert [(stage.stage, stage.pairs, stage.kept) for stage in stages] == [(n, 2, 0) for n in range(2, 7)]
    assert stages[0].dropped == {"pair_consistency": 1}
    assert sum(stages[0].unjudged.values()) == 1
    told = CliRunner().invoke(app, ["pairs", str(listing), "-w", str(own.path)])
    assert told.exit_code == 0, told.output
    assert "rejected  bad_listing" in told.output
    assert "pair_consistency 1" in told.output
    (step,) = json.loads(CliRunner().invoke(app, ["pairs", str(listing), "-w", str(own.path), "--json"]).output)
    assert step["counts"] == {"in": 3, "known": 2, "rejected": 1, "rejected:bad_listing": 1}
    assert step["stages"][0]["dropped"] == {"pair_consistency": 1}
    assert [stage["pairs"] for stage in step["stages"]] == [2] * 5
