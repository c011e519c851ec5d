"""The command line end to end: `main()` as the shell calls it, over one small curated workspace."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.csv
import pyarrow.parquet
import pytest
import typer.main
from calling import call

from filters.policy import bundled_text
from flywheel.cli.app import app

FAMILIES = ("photo", "blur", "exact", "truncated")
MODEL_RULES = "nsfw,clip,aesthetic,watermark,token_length"


@pytest.fixture(scope="module")
def pictures(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen files with little to read in them, one of each hostile kind that is quick to refuse."""
    folder = tmp_path_factory.mktemp("cli") / "pictures"
    folder.mkdir()
    for file in sorted(few_images.iterdir()):
        family = file.name.removeprefix("images_").split("_")[0]
        if family in FAMILIES or file.stat().st_size == 0:
            shutil.copy2(file, folder)
    return folder


@pytest.fixture(scope="module")
def curated(pictures: Path) -> tuple[Path, Any]:
    """The workspace that the tests read, and what `curate --json` said when it made it."""
    place = pictures.parent / "ws"
    assert call("init", "-w", place, "--profile", "cpu", "--json").json["profile"] == "cpu"
    return place, call("curate", pictures, "-w", place, "--workers", "2", "--json").json


@pytest.fixture(scope="module")
def place(curated: tuple[Path, Any]) -> Path:
    return curated[0]


@pytest.fixture
def own(place: Path, tmp_path: Path) -> Path:
    """A copy of the curated workspace to change. Referenced originals stay where they are."""
    return Path(shutil.copytree(place, tmp_path / "own"))


def ids(place: Path, sql: str = "SELECT image_id FROM images ORDER BY 1") -> list[str]:
    return [row["image_id"] for row in call("sql", sql, "-w", place, "--json").json]


def leaves(command: Any, path: Sequence[str] = ()) -> Iterator[tuple[list[str], Any]]:
    if hasattr(command, "commands"):
        for name, child in sorted(command.commands.items()):
            yield from leaves(child, [*path, name])
    else:
        yield list(path), command


COMMANDS = list(leaves(typer.main.get_command(app)))
NAMES = [" ".join(path) for path, _ in COMMANDS]


EXPECTED = """
init migrate status sql catalog maintain ingest measure duplicates curate retry verify filter funnel explain pairs
snapshot snapshots export report forget demo up runs_list runs_show runs_retract policy_list policy_diff
policy_activate policy_rollback policy_impact policy_calibrate embed caption index search tag doctor
models_list models_pull models_add models_verify
"""


def test_no_command_is_missing() -> None:
    assert set(EXPECTED.split()) <= {name.replace(" ", "_") for name in NAMES}


@pytest.mark.parametrize("path", [path for path, _ in COMMANDS], ids=NAMES)
def test_every_command_has_help(path: list[str]) -> None:
    told = call(*path, "--help")
    assert told.code == 0
    assert "Usage:" in told.out


@pytest.mark.parametrize("command", [command for _, command in COMMANDS], ids=NAMES)
def test_every_command_can_answer_in_json_and_says_what_it_is_for(command: Any) -> None:
    assert "--json" in {option for parameter in command.params for option in parameter.opts}
    assert command.help


def test_the_group_alone_shows_its_help() -> None:
    assert "Usage:" in call().out
    assert "rollback" in call("policy").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-command"], "No such command"),
        (["ingest"], "Missing argument"),
        (["snapshot", "--stage", "many"], "--stage"),
        (["export", "--to", "x"], "--format"),
        (["maintain", "--dryrun"], "--dryrun"),
        (["status", "-w", "no/such/place"], "no workspace at no/such/place; run `flywheel init"),
    ],
)
def test_a_wrong_call_is_one_line_and_code_2(arguments: list[str], words: str) -> None:
    call(*arguments).refused(2, words)


def test_wrong_words_are_usage_errors(place: Path, tmp_path: Path) -> None:
    call("init", "-w", place).refused(2, "is a workspace already")
    call("init", "-w", tmp_path / "new", "--profile", "huge").refused(2, "miniature, cpu and full")
    call("runs", "show", "nope", "-w", place).refused(2, "no run 'nope'")
    call("runs", "retract", "nope", "-w", place).refused(2, "no run 'nope'")
    call("measure", "scalded", "-w", place).refused(2, "no pass scalded")
    call("ingest", tmp_path, "-w", place, "--executor", "cloud").refused(2, "no executor 'cloud'")
    call("funnel", "--by", "weekday", "-w", place).refused(2, "no funnel by 'weekday'")
    call("explain", "0" * 8, "-w", place).refused(2, "0 images answer")
    call("snapshot", "--stage", "7", "-w", place).refused(2, "no stage 7")
    call("snapshot", "--stage", "1", "--allow-unjudged", "luck", "-w", place).refused(2, "no rule luck")
    call("export", "--to", tmp_path / "x", "--format", "parquet", "-w", place).refused(2, "name a snapshot")
    call("policy", "activate", tmp_path / "no.toml", "-w", place).refused(2, "no policy file")
    call("sql", "SELECT 1", "--format", "yaml", "-w", place).refused(2, "no format 'yaml'")
    call("sql", "SELECT 1", "--at", "yesteryear", "-w", place).refused(2, "yesteryear")


def test_what_fails_ends_with_code_1(place: Path, tmp_path: Path) -> None:
    call("ingest", tmp_path / "nowhere", "-w", place).refused(1, "cannot be read")
    call("ingest", "http://example.org/a.jpg", "-w", place).refused(1, "put URLs into a JSONL")
    call("pairs", tmp_path / "nowhere.jsonl", "-w", place).refused(1, "cannot read")
    call("sql", "SELECT * FROM no_such_table", "-w", place).refused(1, "no_such_table")
    bad = tmp_path / "bad.toml"
    bad.write_text("name = 'bad'\n[rules.sharpness")
    call("policy", "activate", bad, "--yes", "-w", place).refused(1, "not TOML")
    bad.write_text(bundled_text("cpu").replace("min = [256, 256, 512", "min = [512, 256, 512"))
    call("funnel", "--policy", bad, "-w", place).refused(1, "short_side: min loosens from 512 to 256 at stage 2")


def test_the_console_script_is_the_same_program(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "flywheel"
    if not script.exists():
        pytest.skip("flywheel is not installed beside this interpreter")
    done = subprocess.run([script, "status", "-w", "gone"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "flywheel: no workspace at gone; run `flywheel init -w gone`\n"


def test_curate_accounts_for_every_file(curated: tuple[Path, Any], pictures: Path) -> None:
    place, told = curated
    ingested = told["steps"][0]["counts"]
    assert ingested["in"] == len(list(pictures.iterdir()))
    assert ingested["in"] == sum(ingested.get(part, 0) for part in ("new", "known", "rejected", "quarantined"))
    assert ingested["new"] >= 5
    assert told["funnel"]["images"] == ingested["new"] == len(ids(place))
    again = call("curate", pictures, "-w", place, "--json").json
    assert [step["run_id"] for step in again["steps"]] == [None] * len(again["steps"])
    assert again["funnel"] == told["funnel"]


def test_people_get_text(place: Path) -> None:
    assert "funnel of" in call("funnel", "-w", place).out
    assert "images" in call("status", "-w", place).out
    assert "measure.native" in call("runs", "list", "-w", place).out
    assert "nothing to do" in call("policy", "calibrate", "-w", place).err
    assert "truncated" in call("sql", "SELECT reason FROM rejects", "-w", place).out


def test_the_workspace_comes_from_the_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_WORKSPACE", str(place))
    assert call("status", "--json").json["images"] == len(ids(place))


def test_status_and_runs(place: Path) -> None:
    status = call("status", "-w", place, "--json").json
    assert status["rejected"]["truncated"] >= 1
    assert status["last_runs"]["ingest"].startswith("finished")
    runs = call("runs", "list", "-w", place, "--limit", "3", "--json").json
    assert len(runs) == 3
    shown = call("runs", "show", runs[0]["run_id"], "-w", place, "--json").json
    assert shown["status"] == "finished"
    assert shown["table_versions"]["images"] >= 1
    assert runs[0]["run_id"] in call("runs", "show", runs[0]["run_id"], "-w", place).out


def test_sql_in_every_format(place: Path) -> None:
    query = "SELECT image_id, [width_px, height_px] AS sides FROM images ORDER BY 1"
    found = call("sql", query, "-w", place, "--format", "json").json
    assert found == call("sql", query, "-w", place, "--json").json
    csv = pyarrow.csv.read_csv(io.BytesIO(call("sql", query, "-w", place, "--format", "csv").raw)).to_pylist()
    parquet = pyarrow.parquet.read_table(io.BytesIO(call("sql", query, "-w", place, "--format", "parquet").raw))
    assert [row["image_id"] for row in csv] == [row["image_id"] for row in found]
    assert json.loads(csv[0]["sides"]) == found[0]["sides"]
    assert parquet.to_pylist() == found
    assert found[0]["image_id"] in call("sql", query, "-w", place).out.replace("\n", "")


def test_sql_as_a_conversation(place: Path) -> None:
    told = call("sql", "-w", place, "--json", stdin="SELECT 1 AS one;\nDROP TABLE images;\nSELECT\n2 AS two;\n")
    assert told.code == 1  # a script must learn that one of them was not answered
    assert [json.loads(part) for part in told.out.split("]\n") if part for part in [part + "]"]] == [
        [{"one": 1}],
        [{"two": 2}],
    ]
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    "attack",
    [
        "COPY images TO '{file}'",
        "ATTACH '{file}' AS other",
        "INSTALL httpfs",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_csv('/etc/hostname')",
        "DELETE FROM images",
        "SET enable_external_access = true",
    ],
)
def test_sql_attacks_are_refused(place: Path, tmp_path: Path, attack: str) -> None:
    file = tmp_path / "out"
    call("sql", attack.format(file=file), "-w", place).refused(2, "")
    assert not file.exists()


def test_sql_as_it_was_judged_then(own: Path, tmp_path: Path) -> None:
    """The verdicts of a time are those of the policy that was active then, not of today's."""
    run_id = call("runs", "list", "-w", own, "--limit", "1", "--json").json[0]["run_id"]
    strict = tmp_path / "strict.toml"
    text = bundled_text("cpu").replace('name = "cpu"', 'name = "strict"')
    strict.write_text(text.replace("min = [256, 256, 512, 1024, 1024, 1024]", f"min = {[5000] * 6}"))
    call("policy", "activate", strict, "--yes", "-w", own)
    query = "SELECT count(*) FILTER (verdict = 'dropped') AS dropped, count(*) AS n FROM verdicts WHERE stage = 1"
    (now,) = call("sql", query, "-w", own, "--json").json
    (then,) = call("sql", query, "-w", own, "--at", run_id, "--json").json
    assert now["dropped"] == now["n"] == then["n"] > then["dropped"]


def test_sql_as_the_tables_were(place: Path) -> None:
    first = call("sql", "SELECT run_id FROM runs WHERE step = 'ingest' ORDER BY started_at", "-w", place, "--json").json
    query = "SELECT count(*) AS n FROM score_sharpness"
    assert call("sql", query, "-w", place, "--at", first[0]["run_id"], "--json").json == [{"n": 0}]
    assert call("sql", query, "-w", place, "--at", "2999-01-01", "--json").json[0]["n"] > 0


def test_the_catalogue(own: Path) -> None:
    (own / "views" / "wide.sql").write_text("SELECT * FROM images WHERE width_px > height_px;")
    (own / "views" / "broken.sql").write_text("SELECT * FROM nothing_at_all")
    wide = call("sql", "SELECT count(*) AS n FROM wide", "-w", own, "--json").json[0]["n"]
    told = call("catalog", "-w", own, "--json").json
    assert told["open"] == f"duckdb -readonly {own / 'catalog.duckdb'}"
    assert "views/broken.sql" in told["left_out"][0]
    with duckdb.connect(told["catalog"], read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM wide").fetchone() == (wide,)
        assert connection.execute("SELECT count(DISTINCT stage) FROM verdicts").fetchone() == (6,)


def test_explain_by_path_and_by_prefix(place: Path, pictures: Path) -> None:
    row = call("sql", "SELECT s.uri, image_id FROM sources s JOIN images USING (image_id)", "-w", place, "--json").json[
        0
    ]
    by_path = call("explain", pictures / Path(row["uri"]).name, "-w", place, "--json").json
    assert by_path["image"]["image_id"] == row["image_id"]
    assert by_path == call("explain", row["image_id"][:8], "-w", place, "--json").json
    assert [verdict["stage"] for verdict in by_path["verdicts"]] == [1, 2, 3, 4, 5, 6]
    assert by_path["scores"]["entropy_bits"] > 0
    assert row["image_id"] in call("explain", row["image_id"], "-w", place).out


def test_a_policy_from_file_to_rollback(own: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    text = bundled_text("cpu").replace('name = "cpu"', 'name = "mine"')
    mine.write_text(text.replace("min = [256, 256, 512, 1024, 1024, 1024]", "min = [300, 300, 512, 1024, 1024, 1024]"))
    diff = call("policy", "diff", mine, "-w", own, "--json").json
    assert any(line.startswith("short_side, stage 1: min 256 becomes 300") for line in diff)
    impact = call("policy", "impact", mine, "-w", own, "--json").json
    assert impact == call("funnel", "--policy", mine, "-w", own, "--json").json
    assert impact["images_that_flip"] >= 0
    asked = call("policy", "activate", mine, "-w", own)
    assert asked.code == 2
    assert asked.err.count("\n") == 1
    assert "--yes" in asked.err
    assert call("policy", "activate", mine, "--yes", "-w", own, "--json").json["name"] == "mine"
    call("policy", "activate", mine, "--yes", "-w", own).refused(2, "judges just as the active one does")
    assert call("filter", "-w", own, "--json").json["policy_name"] == "mine"
    assert call("policy", "rollback", "--yes", "-w", own, "--json").json["name"] == "cpu"
    told = call("policy", "list", "-w", own, "--json").json
    assert [(row["name"], row["event"]) for row in told] == [
        ("cpu", "rolled back"),
        ("mine", "activated"),
        ("cpu", "activated"),
    ]


def test_pairs_good_and_bad(own: Path, tmp_path: Path) -> None:
    first, second = ids(own)[:2]
    good = {"references": [first], "target": second, "instruction": "make it another picture"}
    listing = tmp_path / "edits.jsonl"
    listing.write_text(json.dumps(good) + "\n{not json\n")
    (step,) = call("pairs", listing, "-w", own, "--json").json
    assert {name: step["counts"].get(name, 0) for name in ("in", "new", "rejected")} == {
        "in": 2,
        "new": 1,
        "rejected": 1,
    }
    (row,) = call("sql", "SELECT * FROM pairs JOIN pair_scores USING (pair_id)", "-w", own, "--json").json
    assert (row["reference_ids"], row["target_id"], row["dataset"]) == ([first], second, "edits")
    assert 0 <= row["consistency"] <= 1


def test_snapshot_and_export_round_trip(own: Path, pictures: Path, tmp_path: Path) -> None:
    images = len(ids(own, "SELECT image_id FROM verdicts WHERE stage = 1 AND verdict = 'unjudged'"))
    counts = f"(nsfw {images}, token_length {images}, clip {images}, aesthetic {images})"
    call("snapshot", "--stage", "1", "-w", own).refused(
        1,
        f"stage 1 has {images} unjudged images {counts}: write the missing scores, "
        "or take them as they are with --allow-unjudged aesthetic,clip,nsfw,token_length",
    )
    frozen = call("snapshot", "--stage", "1", "--allow-unjudged", MODEL_RULES, "-w", own, "--json").json
    assert frozen["images"] == images
    listed = call("snapshots", "-w", own, "--json").json
    assert [row["snapshot_id"] for row in listed] == [frozen["snapshot_id"]]
    to = tmp_path / "out"
    done = call("export", frozen["snapshot_id"], "--to", to, "--format", "imagefolder", "-w", own, "--json").json
    assert done["counts"]["written"] == images
    originals = {file.read_bytes() for file in pictures.iterdir()}
    exported = [file for file in to.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
    assert len(exported) == images
    assert all(file.read_bytes() in originals for file in exported)
    again = call("export", frozen["snapshot_id"], "--to", to, "--format", "imagefolder", "-w", own, "--json").json
    assert again["counts"]["written"] == 0
    call("export", frozen["snapshot_id"], "--to", to, "--format", "parquet", "-w", own).refused(2, "")


def test_care(own: Path) -> None:
    assert call("migrate", "--dry-run", "-w", own, "--json").json == {"dry_run": True, "changes": []}
    assert call("maintain", "--dry-run", "-w", own, "--json").json["packs"] == []
    assert {row["table"] for row in call("maintain", "-w", own, "--json").json["tables"]} >= {"images", "outcomes"}
    assert call("verify", "--full", "-w", own, "--json").json["counts"]["intact"] == len(ids(own))
    assert [step["run_id"] for step in call("retry", "-w", own, "--json").json] == [None] * 3
    assert call("report", "-w", own, "--json").json["images"] == len(ids(own))


def test_forget_and_never_again(own: Path, pictures: Path) -> None:
    name = ids(
        own,
        "SELECT image_id FROM images JOIN (SELECT image_id FROM sources GROUP BY 1 HAVING count(*) = 1) USING (image_id)",
    )[0]
    would = call("forget", name[:12], "--dry-run", "-w", own, "--json").json
    assert (would["dry_run"], would["images"]) == (True, [name])
    call("forget", name[:12], "-w", own).refused(2, "add --yes")
    assert name in ids(own)
    (receipt,) = call("forget", name[:12], "--yes", "--why", "asked to", "-w", own, "--json").json
    assert receipt["images"] == [name]
    assert name not in ids(own)
    (step,) = call("ingest", pictures, "-w", own, "--json").json
    assert step["counts"]["rejected:forgotten"] == 1
    assert name not in ids(own)
    again = call("forget", name[:12], "--yes", "-w", own, "--json").json
    assert [receipt["images"] for receipt in again] == [[name]]


def test_a_run_is_taken_back(pictures: Path, tmp_path: Path) -> None:
    place, one = tmp_path / "ws", tmp_path / "one"
    one.mkdir()
    shutil.copy2(next(file for file in sorted(pictures.iterdir()) if "photo" in file.name), one)
    call("init", "-w", place)
    (step,) = call("ingest", one, "-w", place, "--copy", "--json").json
    assert call("runs", "retract", step["run_id"], "--dry-run", "-w", place, "--json").json["removed"]["images"] == 1
    assert call("runs", "retract", step["run_id"], "-w", place, "--json").json["removed"]["images"] == 1
    assert ids(place) == []
    call("runs", "retract", step["run_id"], "-w", place).refused(2, "retracted already")
    assert call("ingest", one, "-w", place, "--json").json[0]["counts"]["new"] == 1
