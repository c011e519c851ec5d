"""The weights that come with the program do what their card says, on pictures and prompts that training never showed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration

from flywheel.encoders.clip import open_clip_from
from flywheel.encoders.heads import load_head
from flywheel.sums import SUMS, changed
from model.bundled import bundled_condition
from model.miniature.build import exam
from model.miniature.build.__main__ import PROBES, VERSION
from model.miniature.build.condition_heads import load_heads
from model.miniature.build.courses import Student, drawn
from model.miniature.build.heads import strange
from model.miniature.build.lessons import Writer
from model.miniature.build.pictures import picture
from model.miniature.build.probes import PLACED
from model.miniature.build.wordings import told_plainly
from model.miniature.faults import FAULTS
from model.miniature.sorts import sort_of
from pipelines.profiles import RECIPES, bundled_home, find_weights

HOME = bundled_home()
ROLE, SEED, NUMBER = "report", 5, 256
CARD = json.loads((HOME / "card.json").read_text()) if (HOME / "card.json").exists() else None

pytestmark = pytest.mark.skipif(CARD is None, reason="no weights are bundled: python -m model.miniature.build")


def student(folder: Path, opening: str, processor: Path | None = None) -> Student:
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    return Student(model, Writer(AutoTokenizer.from_pretrained(processor or folder), opening))


def test_they_are_small_whole_and_where_the_profile_looks() -> None:
    assert sum(path.stat().st_size for path in HOME.rglob("*") if path.is_file()) < 30e6
    assert changed(HOME, (HOME / SUMS).read_text()) == []
    recipe = RECIPES["miniature"]
    for name in (recipe.clip, recipe.captioner, recipe.foreign, *recipe.heads.values()):
        assert find_weights(name) is not None
    suffixes = {path.suffix for path in HOME.rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".jinja", ".md", ".txt", ""}


@pytest.mark.slow
def test_captions_of_scenes_are_exact() -> None:
    marks = exam.captions_exact(student(HOME / f"captioner-miniature-{VERSION}", "chat"), NUMBER, ROLE, SEED)
    for kind in ("general", "structured", "text"):
        assert marks[f"scene {kind}"] >= required("captioner", f"scene {kind}"), marks


@pytest.mark.slow
def test_the_judge_tells_right_from_wrong() -> None:
    marks = exam.judge_exact(student(HOME / f"judge-miniature-{VERSION}", "chat"), NUMBER, ROLE, SEED)
    assert marks["scene right or wrong"] >= required("judge", "scene right or wrong"), marks


@pytest.mark.slow
def test_the_condition_encoder_has_parsed_its_prompt() -> None:
    encoder_home, processor = bundled_condition()
    encoder = student(encoder_home, "condition", processor)
    heads = load_heads(encoder_home / PROBES, AutoTokenizer.from_pretrained(processor))
    for words, figures in ((None, "condition"), (told_plainly, "condition, unseen wordings")):
        marks = exam.condition_told(encoder, heads, NUMBER, ROLE, SEED, words)
        told = (
            "size",
            "colour",
            "shape",
            "cell",
            "sign",
            "line",
            *(f"{name} at the end" for name in ("ink", "signs", "line")),
        )
        for facet in (*told, *(f"{name} at once" for name in PLACED)):
            assert marks[facet] >= required(figures, facet), (figures, marks)
    marks = exam.instruction_told(encoder, heads, NUMBER, ROLE, SEED)
    for facet in ("size", "colour", "shape", "cell", *(f"{name} at the end" for name in ("ink", "shape", "colour"))):
        assert marks[facet] >= required("condition, edits", facet), marks


def test_pictures_and_words_find_each_other() -> None:
    clip, rng = open_clip_from(HOME / f"clip-miniature-{VERSION}"), np.random.default_rng(SEED)
    scenes = list(dict.fromkeys(drawn(rng, 256, ROLE, {"scene": 1})))
    images = clip.images([picture(scene, rng) for scene in scenes])
    texts = clip.texts([sort_of(scene).plain(scene) for scene in scenes])
    cosines, own = texts @ images.T, np.arange(len(scenes))
    assert (cosines.argmax(1) == own).mean() >= required("clip", "plain finds image")
    assert (cosines.argmax(0) == own).mean() >= required("clip", "image finds plain")


@pytest.mark.slow
def test_heads_tell_clean_from_degraded_marked_unsafe_and_foreign() -> None:
    clip, rng = open_clip_from(HOME / f"clip-miniature-{VERSION}"), np.random.default_rng(SEED)
    subjects = drawn(rng, NUMBER, ROLE)
    shown: dict[str, Any] = {
        fault: clip.images([picture(subject, rng, fault or None) for subject in subjects]) for fault in ("", *FAULTS)
    }
    shown["foreign"] = clip.images([np.asarray(strange(rng, 96)) for _ in range(NUMBER)])
    names = ("aesthetic", "nsfw", "watermark", "foreign")
    heads = {name: load_head(HOME / f"{name}-miniature-{VERSION}.safetensors", clip.dims) for name in names}
    taste = heads["aesthetic"]
    ranked = taste.scores(shown[""])[:, None] > taste.scores(shown["degraded"])[None]
    assert ranked.mean() >= required("heads", "aesthetic ranks")
    for name, mark in (("nsfw", "unsafe"), ("watermark", "watermark"), ("foreign", "foreign")):
        right = (heads[name].chances(shown[mark]) > 0.5).mean() + (heads[name].chances(shown[""]) <= 0.5).mean()
        assert right / 2 >= required("heads", name)


def required(model: str, figure: str) -> float:
    """What the card claims, less what so few examples may miss by chance: two and a half deviations."""
    assert CARD is not None
    claimed = float(CARD["reading"]["figures"][model][figure])
    return claimed - 2.5 * float(np.sqrt(max(claimed * (1 - claimed), 0.01) / NUMBER))


def test_the_card_says_what_the_program_needs() -> None:
    assert CARD is not None
    figures = CARD["reading"]["figures"]
    assert all(figures["captioner"][f"scene {kind}"] >= 0.95 for kind in ("general", "structured", "text"))
    for facet in ("size", "colour", "shape", "cell", "background at once"):
        assert figures["condition"][facet] >= 0.98
        assert figures["condition, unseen wordings"][facet] >= 0.90
    assert figures["clip"]["plain finds image"] >= 0.97
    assert figures["heads"]["aesthetic ranks"] >= 0.95
    assert CARD["reading"]["cpu_minutes"] < 120
    assert sum(CARD["reading"]["cpu_minutes_by_course"].values()) == pytest.approx(
        CARD["reading"]["cpu_minutes"], abs=1
    )
    assert Path(HOME / "MODEL_CARD.md").read_text().count("|") > 20
