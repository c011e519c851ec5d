"""Embed, align, caption: what models say of images, kept once, whatever happens in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import InProcess
from scripted import SOUND, Scripted, kind_of, says

from flywheel.encoders.vlm import Ask, Refused, Told
from flywheel.errors import FlywheelError, ServerDown
from flywheel.workspace import Workspace
from pipelines import aligning, asking, captioning, embedding
from pipelines.judging import open_workspace

DieAt = Callable[[str, int, Callable[[], object]], None]


def silent(step: str, done: int, total: int | None, counts: object) -> None: ...


def embed(workspace: Workspace) -> Any:
    return embedding.embed(workspace, InProcess(), silent)


def caption(workspace: Workspace, **changes: Any) -> Any:
    return captioning.caption(workspace, InProcess(), silent, **changes)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scripted]:
    def use(amiss: Callable[[Ask, int], Told | Refused | None] = lambda ask, before: None) -> Scripted:
        model = Scripted(amiss)
        monkeypatch.setattr(asking, "model_from", lambda served: model)
        return model

    return use


def rows(workspace: Workspace, sql: str) -> list[dict[str, Any]]:
    return workspace.query(sql).to_pylist()


def test_one_pass_gives_vectors_and_scores_at_the_names_of_the_weights(bench: Workspace) -> None:
    report = embed(bench)
    assert (report.counts["in"], report.counts["embedded"]) == (6, 6)
    vectors = rows(bench, "SELECT * FROM embeddings")
    assert {(row["subject_kind"], row["model_id"]) for row in vectors} == {("image", "clip-test-1")}
    assert all(abs(np.linalg.norm(row["vector"]) - 1) < 1e-2 for row in vectors)
    for name in ("aesthetic", "nsfw", "watermark"):
        assert {row["version"] for row in rows(bench, f"SELECT * FROM score_{name}")} == {f"{name}-test-1"}
    assert all(1 <= row["aesthetic"] <= 10 for row in rows(bench, "SELECT aesthetic FROM score_aesthetic"))
    assert embed(bench).run_id is None


def test_pictures_that_the_weights_do_not_know_get_no_number(bench: Workspace) -> None:
    config = Path(bench.path) / "flywheel.toml"
    config.write_text(config.read_text().replace('foreign = "none"', 'foreign = "all-foreign"'))
    workspace = open_workspace(str(bench.path))
    report = embed(workspace)
    assert report.counts["rejected:out_of_domain"] == 6
    assert rows(workspace, "SELECT * FROM embeddings") == rows(workspace, "SELECT * FROM score_aesthetic") == []
    assert (
        "clip-test-1 was not made for such a picture"
        in rows(workspace, "SELECT detail FROM outcomes WHERE step = 'embed'")[0]["detail"]
    )


def test_without_weights_nothing_is_done_and_the_reason_is_told(
    bench: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYWHEEL_MODELS", str(Path(bench.path) / "none-here"))
    for report in (embed(bench), aligning.align(bench, silent), caption(bench)):
        assert report.run_id is None
        assert "-test-1" in report.why
        assert "flywheel doctor" in report.why
    with pytest.raises(FlywheelError, match="clip-test-1 is not on this machine"):
        embedding.require_encoders(bench)


def test_captions_are_held_to_their_images_by_stored_vectors(bench: Workspace, script: Any) -> None:
    script()
    assert aligning.align(bench, silent).run_id is None  # nothing is embedded yet
    embed(bench)
    assert aligning.align(bench, silent).counts["aligned"] == 6
    caption(bench, kinds=["general"])
    assert aligning.align(bench, silent).counts["aligned"] == 6
    told = rows(bench, "SELECT a.*, i.vector AS picture, c.vector AS words FROM alignment a "
        "JOIN embeddings i ON i.subject_id = a.image_id JOIN embeddings c ON c.subject_id = a.caption_id")  # fmt: skip
    assert sorted(row["kind"] for row in told) == ["general"] * 6 + ["raw"] * 6
    for row in told:
        assert row["cosine"] == pytest.approx(float(np.dot(row["picture"], row["words"])), abs=1e-5)
        assert row["tokens"] > 3
    assert aligning.align(bench, silent).run_id is None


def test_every_kind_that_an_image_should_have_is_asked_picture_first_and_kept_with_its_evidence(
    bench: Workspace, script: Any
) -> None:
    model = script()
    report = caption(bench)
    assert report.counts["captioned"] == report.counts["in"] == 13  # general and structured of six, knowledge of one
    assert (report.counts["general:asked"], report.counts["general:tokens"]) == (6, 30)
    of_one = [ask for ask in model.asked if "Velmora" in ask.prompt]
    assert [json.loads(ask.prompt.split("facts: ")[1]) for ask in of_one] == [{"name": "Velmora"}]
    pictures = [ask.image for ask in model.asked]
    assert len([1 for one, other in pairwise(pictures) if one != other]) == 5  # back to back
    kept = rows(bench, "SELECT * FROM captions")
    assert {row["captioner"].split("/")[0] for row in kept} == {"captioner-test-1"}
    for row in kept:
        assert json.loads(row["payload_json"]) == SOUND[row["kind"]]
        assert {"check": "schema", "ok": True} in json.loads(row["evidence_json"])
    assert caption(bench).run_id is None


def test_what_fails_is_asked_again_with_another_seed_and_then_quarantined_with_the_reason(
    bench: Workspace, script: Any
) -> None:
    def fails_once(ask: Ask, before: int) -> Told | None:
        return says({"caption": "I'm sorry, I cannot help."}) if kind_of(ask) == "general" and before < 12 else None

    model = script(fails_once)
    report = caption(bench, kinds=["general"])
    assert (report.counts.get("captioned", 0), report.counts["general:asked"]) == (0, 12)
    assert report.counts["quarantined:caption_failed"] == 6
    first, second = model.asked[:6], model.asked[6:]
    assert {ask.temperature for ask in first} == {0.0}
    assert all(ask.temperature > 0 for ask in second)
    assert {ask.seed for ask in first}.isdisjoint({ask.seed for ask in second})
    details = {row["detail"] for row in rows(bench, "SELECT detail FROM outcomes WHERE step = 'caption.general'")}
    assert details == {"sound: a refusal"}
    assert rows(bench, "SELECT * FROM captions") == []
    assert caption(bench, kinds=["general"]).run_id is None
    assert caption(bench, kinds=["general"], retry=True).counts["captioned"] == 6
    attempts = rows(bench, "SELECT attempt, status FROM outcomes WHERE step = 'caption.general' ORDER BY 1")
    assert [(row["attempt"], row["status"]) for row in attempts] == [(1, "quarantined")] * 6 + [(2, "ok")] * 6


def test_an_answer_that_was_cut_off_and_a_refused_request_are_no_captions(bench: Workspace, script: Any) -> None:
    seen: dict[bytes | None, int] = {}

    def every_other(ask: Ask, before: int) -> Told | Refused:
        odd = seen.setdefault(ask.image, len(seen)) % 2
        return says(SOUND["general"], "length") if odd else Refused("400: the image is broken")

    script(every_other)
    report = caption(bench, kinds=["general"])
    assert "captioned" not in report.counts
    assert report.counts["rejected:caption_refused"] == 3
    assert report.counts["quarantined:caption_failed"] == 3


def test_a_server_that_stays_away_ends_the_run_and_the_next_one_goes_on(bench: Workspace, script: Any) -> None:
    def away(ask: Ask, before: int) -> None:
        raise ServerDown("nobody answered")

    script(away)
    with pytest.raises(ServerDown):
        caption(bench)
    assert rows(bench, "SELECT * FROM outcomes WHERE starts_with(step, 'caption')") == []
    script()
    assert caption(bench).counts["captioned"] == 13


@pytest.mark.parametrize("table", ["captions", "outcomes"])
def test_a_killed_run_resumes_and_pays_for_no_caption_twice(
    table: str, bench: Workspace, script: Any, die_at: DieAt
) -> None:
    model = script()
    die_at(table, 0, lambda: caption(bench))
    assert len(model.asked) == 13
    report = caption(bench)
    assert report.counts["captioned"] == 13
    assert len(model.asked) == (13 if table == "outcomes" else 26)
    twice = rows(bench, "SELECT image_id, kind FROM captions GROUP BY ALL HAVING count(*) > 1")
    assert twice == []
    assert len(rows(bench, "SELECT * FROM captions")) == 13


@pytest.mark.parametrize("table", ["embeddings", "score_nsfw", "outcomes"])
def test_a_killed_embedding_resumes_with_unique_keys(table: str, bench: Workspace, die_at: DieAt) -> None:
    die_at(table, 0, lambda: embed(bench))
    embed(bench)
    for name, key in (("embeddings", "subject_id"), ("score_aesthetic", "image_id"), ("score_nsfw", "image_id")):
        found = [row[key] for row in rows(bench, f"SELECT {key} FROM {name}")]
        assert len(found) == len(set(found)) == 6, name
