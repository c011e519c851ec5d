"""The first morning: a file of feedback in, modes out, without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flywheel.workspace import Workspace
from pipelines.judging import open_workspace
from tests.cli.calling import call

OBJECTS = ("mug", "lamp", "chair", "clock")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A workspace, and a home in which nobody has looked yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    where = str(tmp_path / "workspace")
    assert call("init", "-w", where).code == 0
    return where


def votes(bad: str = "clock", prompts: int = 96) -> list[dict[str, Any]]:
    """Two people's thumbs; what names `bad` is disliked."""
    rows = []
    for at in range(prompts):
        thing = OBJECTS[at % len(OBJECTS)]
        for user in ("ann", "bo"):
            thumb = "down" if thing == bad else "up"
            rows.append({"query": f"a {thing} number {at} on a table", "thumb": thumb, "user": user, "seed": at})
    return rows


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def state(opened: Workspace) -> dict[str, list[dict[str, Any]]]:
    """All that was collected, but for when."""
    tables = {
        "feedback": "feedback_id",
        "failures": "failure_id",
        "modes": "mode_id",
        "mode_members": "mode_id, failure_id",
    }
    but = {"feedback": "EXCLUDE (taken_at)"}
    found = {
        name: opened.query(f"SELECT * {but.get(name, '')} FROM {name} ORDER BY {key}").to_pylist()
        for name, key in tables.items()
    }
    events = "SELECT mode_id, seq, event, detail_json FROM mode_events ORDER BY mode_id, seq"
    return {**found, "mode_events": opened.query(events).to_pylist()}


@pytest.mark.parametrize("name", ["votes.jsonl", "votes.parquet"])
def test_a_file_of_thumbs_names_what_fails(name: str, home: str, tmp_path: Path) -> None:
    file = written(tmp_path / name, votes())
    done = call("feedback", "import", file, "--map", "prompt=query", "-w", home, "--json").json
    assert (done["new_feedback"], done["failures"]) == (192, 24)
    assert done["cannot_be_drawn_again_for_want_of"] == {"checkpoint": 192}
    (mode,) = call("triage", "-w", home, "--json").json["modes"]
    assert mode["name"] == "picture: clock"
    assert (mode["failing"], mode["prompts"], mode["elsewhere"], mode["state"]) == (24, 24, 0.0, "candidate")
    shown = call("triage", "show", mode["mode_id"][:6], "-w", home, "--json").json
    assert {"clock" in case["prompt"] for case in shown["failures"]} == {True}
    assert [event["event"] for event in shown["events"]] == ["measured"]
    assert "picture: clock" in call("triage", "-w", home).out


def test_the_same_file_again_adds_nothing(home: str, tmp_path: Path) -> None:
    file = written(tmp_path / "votes.jsonl", votes())
    arguments = ("feedback", "import", file, "--map", "prompt=query", "-w", home, "--json")
    call(*arguments)
    before = state(open_workspace(home))
    again = call(*arguments).json
    assert (again["new_feedback"], again["new_failures"], again["new_modes"]) == (0, 0, 0)
    assert state(open_workspace(home)) == before


def test_what_is_said_in_two_goes_is_as_if_in_one(home: str, tmp_path: Path) -> None:
    rows = votes()
    for part in (rows[100:], rows[:100]):
        call("feedback", "import", written(tmp_path / "part.jsonl", part), "--map", "prompt=query", "-w", home)
    other = str(tmp_path / "other")
    call("init", "-w", other)
    call("feedback", "import", written(tmp_path / "all.jsonl", rows), "--map", "prompt=query", "-w", other)
    first, second = state(open_workspace(home)), state(open_workspace(other))
    assert {name: first[name] for name in first if name != "mode_events"} == {
        name: second[name] for name in second if name != "mode_events"
    }


def test_who_changes_their_mind_changes_the_failure(home: str, tmp_path: Path) -> None:
    rows = votes()
    call("feedback", "import", written(tmp_path / "votes.jsonl", rows), "--map", "prompt=query", "-w", home)
    (mode,) = call("triage", "-w", home, "--json").json["modes"]
    better = [{**row, "thumb": "up"} for row in rows]
    done = call(
        "feedback", "import", written(tmp_path / "later.jsonl", better), "--map", "prompt=query", "-w", home, "--json"
    ).json
    assert done["failures"] == 0
    assert call("triage", "-w", home, "--json").json["modes"] == []
    shown = call("triage", "show", mode["mode_id"], "-w", home, "--json").json
    assert (shown["failing"], shown["before"]) == (0, 1.0)


def test_it_opens_with_what_changed_since_one_looked(home: str, tmp_path: Path) -> None:
    call("feedback", "import", written(tmp_path / "votes.jsonl", votes()), "--map", "prompt=query", "-w", home)
    first = call("triage", "-w", home, "--json").json
    assert first["looked_before"] is None
    assert len(first["changed"]) == 1
    second = call("triage", "--new", "-w", home, "--json").json
    assert second["looked_before"]
    assert second["modes"] == []


def test_one_says_what_one_thinks_of_a_picture(home: str) -> None:
    said = ("feedback", "add", "--prompt", "a red mug", "--bad", "attributes", "--checkpoint", "v1", "--seed", "3")
    assert call(*said, "-w", home, "--json").json["failures"] == 1
    (mode,) = call("triage", "-w", home, "--json").json["modes"]
    assert (mode["facet"], mode["replayable"]) == ("attributes", 1)


def test_bad_input_is_one_line(home: str, tmp_path: Path) -> None:
    file = written(tmp_path / "votes.jsonl", votes())
    call("feedback", "import", file, "-w", home).refused(2, "neither a prompt nor a generation")
    call("feedback", "import", file, "--map", "prompt", "-w", home).refused(2, "FIELD=COLUMN")
    call("feedback", "import", file, "--scale", "one:five", "-w", home).refused(2, "the worst and the best number")
    call("feedback", "import", tmp_path / "none.csv", "-w", home).refused(2, "No such file")
    call("feedback", "import", tmp_path / "votes.xlsx", "-w", home).refused(2, "tables come as")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    call("feedback", "import", tmp_path / "broken.parquet", "-w", home).refused(2, "no Parquet")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    call("feedback", "import", tmp_path / "deep.json", "-w", home).refused(2, "no JSON")
    call("feedback", "add", "--prompt", "x", "--bad", "taste", "-w", home).refused(2, "none of the facets")
    call("triage", "show", "abcd", "-w", home).refused(2, "no modes begin with 'abcd'")
    assert state(open_workspace(home))["feedback"] == []


def test_a_thumb_that_names_only_the_picture_finds_its_prompt(home: str, tmp_path: Path) -> None:
    """The product's log says what was asked; the thumbs say which of its pictures are bad."""
    Image.new("RGB", (32, 24), "red").save(tmp_path / "a.png")
    log = [
        {"id": f"r{at}", "prompt": f"a {OBJECTS[at % 4]} {at}", "model": "v7", "seed": at, "guidance_scale": "4.5"}
        for at in range(48)
    ]
    log[3]["image"] = "a.png"
    log[4]["image"] = "https://example.org/4.png"
    arguments = ("generations", "import", written(tmp_path / "log.jsonl", log), "-w", home, "--json")
    done = call(*arguments).json
    assert (done["generations"], done["new"], done["pictures"]) == (48, 48, 1)
    assert call(*arguments).json["new"] == 0
    thumbs = [{"request_id": f"r{at}", "thumb": "down" if at % 4 == 3 else "up"} for at in range(48)]
    said = call("feedback", "import", written(tmp_path / "thumbs.jsonl", thumbs), "-w", home, "--json").json
    assert said["failures"] == 12
    (mode,) = call("triage", "-w", home, "--json").json["modes"]
    assert (mode["name"], mode["checkpoint"], mode["replayable"]) == ("picture: clock", "v7", 12)
    assert done["cannot_be_drawn_again_for_want_of"] == {}


def test_modes_are_a_page_of_their_pictures(home: str, tmp_path: Path) -> None:
    Image.new("RGB", (32, 24), "red").save(tmp_path / "a.png")
    log = [
        {"id": "r0", "prompt": "a <b>clock</b>", "model": "v7", "seed": 1, "image": "a.png"},
        {"id": "r1", "prompt": "a lamp", "model": "v7", "seed": 1, "image": "https://example.org/1.png"},
    ]
    call("generations", "import", written(tmp_path / "log.jsonl", log), "-w", home)
    for request in ("r0", "r1"):
        call("feedback", "add", "--generation", request, "--bad", "artifacts", "--comment", "blurred", "-w", home)
    page = tmp_path / "triage.html"
    assert call("triage", "--html", page, "-w", home, "--json").json["page"].endswith("triage.html")
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 1
    assert "a &lt;b&gt;clock&lt;/b&gt;" in text
    assert "https://example.org/1.png" in text
    assert '<img src="http' not in text


def test_a_log_names_no_file_elsewhere(home: str, tmp_path: Path) -> None:
    Image.new("RGB", (32, 24), "red").save(tmp_path / "secret.png")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "logs" / "text.png").write_text("no picture")
    row = {"prompt": "x", "model": "v7", "seed": 1}
    for image, says in (("../secret.png", "lie beside"), ("link.png", "lie beside"), ("text.png", "no picture")):
        file = written(tmp_path / "logs" / "log.jsonl", [{**row, "image": image}])
        call("generations", "import", file, "-w", home).refused(2, says)
    call("generations", "import", written(tmp_path / "log.jsonl", [{"prompt": "x"}]), "-w", home).refused(
        2, "no checkpoint"
    )
    assert open_workspace(home).query("SELECT count(*) AS n FROM generations")["n"].to_pylist() == [0]


def judged(home: str, tmp_path: Path) -> str:
    """The one mode of the usual votes."""
    call("feedback", "import", written(tmp_path / "votes.jsonl", votes()), "--map", "prompt=query", "-w", home)
    (mode,) = call("triage", "-w", home, "--json").json["modes"]
    return str(mode["mode_id"])


def test_people_decide_what_becomes_of_a_mode(home: str, tmp_path: Path) -> None:
    mode = judged(home, tmp_path)
    call("triage", "note", mode, "seen in the shop, too", "-w", home)
    call("triage", "route", mode, "--track", "pretraining", "--why", "never shown", "-w", home)
    (one,) = call("triage", "--track", "pretraining", "-w", home, "--json").json["modes"]
    assert (one["note"], one["track"]) == ("seen in the shop, too", "pretraining")
    assert call("triage", "--track", "prompt", "-w", home, "--json").json["modes"] == []
    call("triage", "snooze", mode, "--days", "2", "-w", home)
    assert call("triage", "-w", home, "--json").json["modes"] == []
    call("triage", "dismiss", mode, "--why", "no customer asks", "-w", home)
    (one,) = call("triage", "--state", "dismissed", "-w", home, "--json").json["modes"]
    assert one["mode_id"] == mode
    events = call("triage", "show", mode, "-w", home, "--json").json["events"]
    assert [event["event"] for event in events] == ["measured", "noted", "routed", "snoozed", "dismissed"]
    assert [event["seq"] for event in events] == list(range(5))
    call("triage", "route", mode, "--track", "hope", "-w", home).refused(2, "no track 'hope'")


def test_what_a_person_finds_good_is_no_failure_whatever_others_say(home: str, tmp_path: Path) -> None:
    mode = judged(home, tmp_path)
    case = call("triage", "show", mode, "-w", home, "--json").json["failures"][0]["failure_id"]
    told = call("triage", "explain", case[:8], "-w", home, "--json").json
    assert [one["score"] for one in told["said"]] == [0.0, 0.0]
    assert [one["mode_id"] for one in told["modes"]] == [mode]
    assert (
        call("triage", "not-a-failure", case, "--why", "that is how clocks look", "-w", home, "--json").json["failures"]
        == 23
    )
    worse = [{**row, "user": "cy"} for row in votes()]
    again = call(
        "feedback", "import", written(tmp_path / "more.jsonl", worse), "--map", "prompt=query", "-w", home, "--json"
    ).json
    assert again["failures"] == 23
    call("triage", "explain", case, "-w", home).refused(2, "no failures begin with")
