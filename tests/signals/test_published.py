"""Published human judgements come in as people read them."""

from __future__ import annotations

import csv
import json
import re

import pytest

from flywheel.errors import UsageError
from flywheel.facets import Facet
from flywheel.signals import geneval_sheet, human_scores
from flywheel.signals.failing import failing
from tests.conftest import SHARED
from tests.signals.keys import GENEVAL, TIFA

FEEDBACK = SHARED / "data" / "feedback"
SHEET = FEEDBACK / "geneval__annotations__annotations_sdv2.csv"
needs_files = pytest.mark.skipif(not SHEET.exists(), reason="needs the published judgements")
LETTERS = {"O": Facet.OBJECTS, "C": Facet.COUNTS, "A": Facet.ATTRIBUTES, "R": Facet.RELATIONS}


@needs_files
def test_a_geneval_sheet_is_read_as_a_person_reads_it() -> None:
    with SHEET.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = list(geneval_sheet.read((f"row {at}", row) for at, row in enumerate(rows)))
    key = re.findall(r"(\d+) ((?:[OCAR][01] )+)q(\d)", GENEVAL)
    assert len(key) == 80
    for at, facets, quality in key:
        wanted = {LETTERS[one[0]]: float(one[1]) for one in facets.split()}
        wanted[Facet.AESTHETICS] = (int(quality) - 1) / 3
        assert found[int(at)].facets == pytest.approx(wanted), (at, found[int(at)].prompt)
    assert {one.checkpoint for one in found} == {"sdv2"}
    assert len({one.feedback_id for one in found}) == 2_000
    assert {one.missing for one in found} == {("seed",)}


@needs_files
def test_tifas_scores_are_read_as_a_person_reads_them() -> None:
    file = FEEDBACK / "tifa__human_annotations__human_annotations_with_scores.json"
    found = list(human_scores.tifa(json.loads(file.read_text()), file.name))
    assert {one.checkpoint for one in found} == {
        "mini_dalle",
        "stable_diffusion_v1_1",
        "stable_diffusion_v1_5",
        "stable_diffusion_v2_1",
        "vq_diffusion",
    }
    for text_id, scores in TIFA.items():
        said = [one.score for one in found if one.image == f"{text_id}_stable_diffusion_v2_1.jpg"]
        assert said == [(score - 1) / 4 for score in scores]
    assert len(failing(found)) == 130  # pictures that people gave less than 3 on average, counted in the file


@needs_files
def test_imagerewards_rankings_say_which_is_last_and_not_how_bad() -> None:
    file = FEEDBACK / "ImageReward__data__test.json"
    document = json.loads(file.read_text())
    found = list(human_scores.image_reward(document, file.name))
    last = failing(found)
    assert all(one.is_last and one.facets == () and one.severity == 0.5 for one in last)
    for row in document[:50]:
        of_prompt = {one.image: one.rank for one in found if one.prompt == row["prompt"]}
        best = [picture for picture, rank in zip(row["generations"], row["ranking"], strict=True) if rank == 1]
        assert all(of_prompt[picture] == max(of_prompt.values()) for picture in best)  # type: ignore[type-var]
    assert 0 < len(last) <= len(document)


def test_what_is_no_sheet_is_refused_with_its_place() -> None:
    row = {"Input.caption": "a photo of a cat", "Input.image_url": "x", "Input.object_0_name": "cat"}
    with pytest.raises(UsageError, match="row 7: no row of a GenEval sheet"):
        list(geneval_sheet.read([("row 7", {**row, "Answer.task-quality": "4", "Answer.task-count-0": ""})]))
    with pytest.raises(UsageError, match="a score is 1 to 5, not 9"):
        list(human_scores.tifa({"a": {"human_scores": [9], "text": "", "image_path": "", "text_id": "a"}}, "file"))
