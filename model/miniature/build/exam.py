"""What the weights can do on pictures and words that they were never shown: exact or not, by kind and by sort.

An answer is exact when it is the expected text to the last sign. Greedy decoding is exact if and only if each token is the
likeliest after the expected ones before it, so one pass over the expected answers tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerFast

from model.miniature import grammar
from model.miniature.build.condition_heads import ConditionHeads
from model.miniature.build.contrast import MARKS, normalized, show
from model.miniature.build.courses import Student, drawn, edits_drawn, instructed, shown
from model.miniature.build.facets import UNTOLD, facets_of, targets_of
from model.miniature.build.forward import Seen, read, see
from model.miniature.build.heads import strange
from model.miniature.build.lessons import IGNORED, Lesson, caption_lessons, condition_lesson, judge_lesson
from model.miniature.build.patches import patchify
from model.miniature.build.pictures import picture
from model.miniature.build.probes import gathered
from model.miniature.build.trainer import by_length
from model.miniature.roles import role_of
from model.miniature.scene import Scene
from model.miniature.sorts import sort_of
from model.miniature.subject import Subject

Marks = dict[str, float]
One = TypeVar("One")
_AT_ONCE = 128
EASY = (
    "one",
    "two",
    "pair",
    "three",
    "pair and one",
    "two alike",
    "three alike",
    "word",
    "word and one",
    "word and two",
)


@torch.no_grad()
def captions_exact(student: Student, number: int, role: str, seed: int) -> Marks:
    """Share of exact captions: `scene 1-3 KIND` of scenes with one to three things or words, then by sort and kind."""
    found: dict[str, list[bool]] = defaultdict(list)
    rng = np.random.default_rng([seed, 20])
    for subjects in _parts(_easy(rng, number, role) + drawn(rng, number, role)):
        told = [(one, kind, lesson) for one in subjects for kind, lesson in caption_lessons(one, rng).items()]
        pixels = patchify(np.stack([picture(one, rng) for one in subjects]))
        seen = see(student.model, pixels)
        at = {id(one): place for place, one in enumerate(subjects)}
        exact = _exact(student, [lesson for *_, lesson in told], seen, [at[id(one)] for one, *_ in told])
        for (one, kind, _), right in zip(told, exact, strict=True):
            found[f"{_group(one)} {kind}"].append(right)
    return _shares(found)


@torch.no_grad()
def judge_exact(student: Student, number: int, role: str, seed: int) -> Marks:
    """Share of exact scores, and of right and wrong claims told apart (5 against less)."""
    found: dict[str, list[bool]] = defaultdict(list)
    rng = np.random.default_rng([seed, 21])
    for subjects in _parts(drawn(rng, number, role)):
        lessons = [judge_lesson(one, rng) for one in subjects]
        seen = see(student.model, patchify(np.stack([picture(one, rng) for one in subjects])))
        rows = student.writer.rows(lessons, pictured=True)
        hidden = read(student.model, rows.ids, seen, rows.first, rows.alike)
        said = _likeliest(student, hidden)
        wanted = rows.labels[:, 1:]
        right = ((said == wanted) | (wanted == IGNORED)).all(1).tolist()
        perfect = student.writer.rows([Lesson("", '{"score":5}')], pictured=False).labels[0]
        five = int(perfect[perfect != IGNORED][-3])
        place = rows.ends + (perfect != IGNORED).sum() - 3 - 1
        says_five = (said[torch.arange(len(said)), place] == five).tolist()
        for one, lesson, exact, five_said in zip(subjects, lessons, right, says_five, strict=True):
            found[f"{_group(one)} score"].append(exact)
            found[f"{_group(one)} right or wrong"].append(five_said == lesson.answered.endswith("5}"))
    return _shares(found)


@torch.no_grad()
def condition_told(
    student: Student,
    heads: ConditionHeads,
    number: int,
    role: str,
    seed: int,
    word: Callable[[Subject], str] | None = None,
) -> Marks:
    """Share of scenes of which linear probes tell a facet wholly right, facet by facet, and of exact structures.

    `size`, `colour`, `shape`, `cell`: from each token that speaks of a thing, of that thing (and `before`, of the one before).
    `NAME at once`: of all places, from the whole prompt's features in one vector; `at the end`: from single tokens there.
    """
    found: dict[str, list[bool]] = defaultdict(list)
    rng = np.random.default_rng([seed, 22])
    for subjects in _parts(_scenes(rng, number, role)):
        lessons = [condition_lesson(one, rng) for one in subjects]
        if word is not None:
            lessons = [Lesson(word(one), lesson.answered) for one, lesson in zip(subjects, lessons, strict=True)]
        rows = student.writer.rows(lessons, pictured=False)
        hidden = read(student.model, rows.ids, alike=rows.alike)
        for answers in heads.tokens.right(hidden, rows.ends, subjects, [lesson.asked for lesson in lessons]):
            for name, answer in answers.items():
                found[name].append(answer)
        names = facets_of(subjects[0])
        logits = heads.probes(gathered(hidden, rows.alike, rows.ends), names)
        targets = targets_of(subjects, names)
        for name in names:
            right = (logits[name].argmax(-1) == targets[name]) | (targets[name] == UNTOLD)
            found[f"{name} at once"] += right.all(1).tolist()
        scenes = [one for one in subjects if isinstance(one, Scene)]
        for name, rights in heads.tail.right(hidden, rows.ends, scenes, [one.asked for one in lessons]).items():
            found[f"{name} at the end"] += rights
        wanted = rows.labels[:, 1:]
        found["structure"] += ((_likeliest(student, hidden) == wanted) | (wanted == IGNORED)).all(1).tolist()
    return _shares(found)


@torch.no_grad()
def instruction_told(student: Student, heads: ConditionHeads, number: int, role: str, seed: int) -> Marks:
    """Of instructions behind the picture that is to be edited: as `condition_told`, of the scene that the edit makes."""
    found: dict[str, list[bool]] = defaultdict(list)
    rng = np.random.default_rng([seed, 25])
    for pairs in _parts(edits_drawn(rng, number, role)):
        before, after = ([getattr(pair, which) for pair in pairs] for which in ("before", "after"))
        texts = [pair.instruction for pair in pairs]
        seen = see(student.model, patchify(np.stack([picture(one, rng) for one in before])))
        hidden, ends = instructed(student, seen, texts)
        for answers in heads.tokens.right(hidden, ends, after, texts, before):
            for name, answer in answers.items():
                found[name].append(answer)
        for name, rights in heads.tail.right(hidden, ends, after, texts).items():
            found[f"{name} at the end"] += rights
    return _shares(found)


@torch.no_grad()
def clip_finds(clip: open_clip.CLIP, words: PreTrainedTokenizerFast, role: str, seed: int) -> Marks:
    """Retrieval at 1 among 256 distinct scenes, both ways, by plain words and by words of any kind."""
    rng = np.random.default_rng([seed, 23])
    scenes = _scenes(rng, 256, role)
    images = normalize(clip.encode_image(normalized(np.stack([picture(one, rng) for one in scenes]))), dim=-1)
    marks: Marks = {}
    for how in ("plain", "wording"):
        said = [sort_of(one).plain(one) if how == "plain" else sort_of(one).wording(one, rng) for one in scenes]
        ids = words(said, padding="max_length", truncation=True, return_tensors="pt").input_ids
        cosines = normalize(clip.encode_text(ids), dim=-1) @ images.T
        own = torch.arange(len(scenes))
        marks[f"{how} finds image"] = float((cosines.argmax(1) == own).float().mean())
        marks[f"image finds {how}"] = float((cosines.argmax(0) == own).float().mean())
    return marks


@torch.no_grad()
def heads_told(clip: open_clip.CLIP, heads: torch.nn.ModuleDict, number: int, role: str, seed: int) -> Marks:
    """Clean ranked above degraded, all against all, and of the others the mean of right answers to yes and to no."""
    rng = np.random.default_rng([seed, 24])
    pictures = show(drawn(rng, number, role), number // 4, rng, strange)
    vectors = normalize(clip.encode_image(pictures.pixels), dim=-1)
    rated, clean = heads["aesthetic"](vectors), pictures.marks.sum(1) == 0
    ugly = pictures.marks[:, MARKS.index("degraded")] > 0
    marks = {"aesthetic ranks": float((rated[clean][:, None] > rated[ugly][None]).float().mean())}
    for name, mark in (("nsfw", "unsafe"), ("watermark", "watermark"), ("foreign", "foreign")):
        said = heads[name](10 * vectors)[:, 0] > 0
        has = pictures.marks[:, MARKS.index(mark)] > 0
        marks[name] = float((said[has].float().mean() + (~said[~has]).float().mean()) / 2)
    return marks


def _exact(student: Student, lessons: Sequence[Lesson], seen: Seen, of: Sequence[int]) -> list[bool]:
    right: dict[int, bool] = {}
    for chosen in by_length([len(lesson.asked) + len(lesson.answered) for lesson in lessons], 8):
        rows = student.writer.rows([lessons[at] for at in chosen], pictured=True)
        hidden = read(student.model, rows.ids, shown(seen, [of[at] for at in chosen]), rows.first, rows.alike)
        wanted = rows.labels[:, 1:]
        same = ((_likeliest(student, hidden) == wanted) | (wanted == IGNORED)).all(1)
        right.update(zip(chosen, same.tolist(), strict=True))
    return [right[at] for at in range(len(lessons))]


def _likeliest(student: Student, hidden: Tensor) -> Tensor:
    model: Any = student.model
    likeliest: Tensor = model.lm_head(model.model.language_model.norm(hidden[:, :-1])).argmax(-1)
    return likeliest


def _easy(rng: np.random.Generator, number: int, role: str) -> list[Subject]:
    return _scenes(rng, number, role, EASY)


def _scenes(rng: np.random.Generator, number: int, role: str, kinds: Sequence[str] | None = None) -> list[Subject]:
    """Distinct scenes of one role."""
    found: dict[Subject, None] = {}
    while len(found) < number:
        scene = grammar.sample(rng, None if kinds is None else kinds[int(rng.integers(len(kinds)))])
        if role_of(scene.subject_id, "") == role:
            found[scene] = None
    return list(found)


def _group(subject: Subject) -> str:
    if isinstance(subject, Scene):
        return "scene of four" if len(subject.things) > 3 else "scene"
    return type(subject).__name__.lower()


def _parts(examined: Sequence[One]) -> list[Sequence[One]]:
    return [examined[start : start + _AT_ONCE] for start in range(0, len(examined), _AT_ONCE)]


def _shares(found: Mapping[str, Sequence[bool]]) -> Marks:
    return {name: round(float(np.mean(right)), 4) for name, right in sorted(found.items())}
