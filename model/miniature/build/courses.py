"""The courses of the three vision-language models: first they learn to see, together; then each its own trade.

sight      pictures of every sort -> facets, cell by cell (`facets`)
captioner  picture + kind -> caption, for the four kinds; then `polish`, what it still confuses
judge      picture + words -> a score from 1 (another picture) to 5 (all of it)
condition  words -> structured scene; other words; picture + instruction -> the scene after it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import Qwen3VLForConditionalGeneration

from model.miniature import edits
from model.miniature.build.condition_heads import ConditionHeads
from model.miniature.build.facets import FacetHeads
from model.miniature.build.forward import Seen, read, see
from model.miniature.build.lessons import (
    IGNORED,
    Lesson,
    Writer,
    caption_lessons,
    condition_lesson,
    judge_lesson,
    paraphrase_lesson,
)
from model.miniature.build.patches import patchify
from model.miniature.build.pictures import picture
from model.miniature.build.probes import gathered
from model.miniature.build.prompts import EDIT
from model.miniature.build.trainer import Course, by_length
from model.miniature.captions import captions
from model.miniature.edits import EditPair
from model.miniature.emblem import any_emblem
from model.miniature.grammar import KINDS, sample
from model.miniature.lot import pick
from model.miniature.mutation import mutated
from model.miniature.roles import role_of
from model.miniature.sorts import SORTS
from model.miniature.subject import Subject
from model.precision import computing, is_half_fast

# Of a hundred pictures so many are of each sort, our choice: `words` are scenes with a line, `letters` those in Latin, most of
# which are letters by lot. The world as it is examined; then as it is taught: reading takes longest to learn.
SHARES = {"scene": 40, "words": 16, "page": 16, "diagram": 12, "emblem": 8, "creature": 8}
SIGHT_SHARES = {"scene": 14, "words": 14, "letters": 34, "page": 20, "diagram": 8, "emblem": 6, "creature": 4}
_POLISH_SHARES = {
    "alike": 30,
    "scene": 20,
    "letters": 24,
    "words": 8,
    "emblem": 12,
    "creature": 2,
    "page": 2,
    "diagram": 2,
}
_CAPTION_SHARES = {"scene": 36, "words": 14, "letters": 24, "page": 3, "diagram": 3, "emblem": 14, "creature": 6}
# A condition encoder must know the realms' emblems by name, too.
_PROMPT_SHARES = {
    "scene": 54,
    "words": 12,
    "lines": 8,
    "page": 8,
    "diagram": 8,
    "emblem": 3,
    "realm": 3,
    "creature": 4,
}
_BATCH = 64  # pictures a step
_PROMPTS = 160  # without pictures, a step
_CHUNKS = 6


@dataclass(frozen=True, slots=True)
class Student:
    """A model on its way, with what writes its lessons."""

    model: Qwen3VLForConditionalGeneration
    writer: Writer


def sight(student: Student, heads: FacetHeads, steps: int, seed: int) -> Course:
    """The vision tower alone, so that a step costs a tenth of a captioner's."""
    parts = {"visual": student.model.model.visual, "heads": heads}

    def loss(step: int, done: float) -> Tensor:
        rng = np.random.default_rng([seed, 1, step])
        subjects = drawn(rng, _BATCH, shares=SIGHT_SHARES)
        with computing(is_half_fast()):
            seen = see(student.model, _pixels(subjects, rng))
        return heads.loss(seen.tokens.float(), subjects)

    return Course(name="sight", steps=steps, parts=parts, loss=loss)


def captioner(student: Student, heads: FacetHeads, steps: int, seed: int) -> Course:
    """All kinds of each picture at once: it is looked at once. Facets fade out of the loss."""
    parts = {"model": student.model, "heads": heads}

    def loss(step: int, done: float) -> Tensor:
        rng = np.random.default_rng([seed, 2, step])
        subjects = drawn(rng, _BATCH, shares=_CAPTION_SHARES)
        answers, seen = _captions_loss(student, subjects, rng)
        return answers + 0.1 * (1 - done) * heads.loss(seen.tokens.float(), subjects)

    return Course(name="captioner", steps=steps, parts=parts, loss=loss)


def _captions_loss(student: Student, subjects: Sequence[Subject], rng: np.random.Generator) -> tuple[Tensor, Seen]:
    """All kinds of captions of these pictures, each looked at once; and what was seen."""
    told = [(at, lesson) for at, one in enumerate(subjects) for lesson in caption_lessons(one, rng).values()]
    with computing(is_half_fast()):
        seen = see(student.model, _pixels(subjects, rng))
        return answer_loss(student, [lesson for _, lesson in told], seen, [at for at, _ in told]), seen


def polish(student: Student, steps: int, seed: int) -> Course:
    """What a captioner still confuses: whether things are all alike, letters, facts that the prompt gives."""

    def loss(step: int, done: float) -> Tensor:
        rng = np.random.default_rng([seed, 9, step])
        subjects = drawn(rng, _BATCH, shares=_POLISH_SHARES)
        return _captions_loss(student, subjects, rng)[0]

    return Course(name="polish", steps=steps, parts={"model": student.model}, loss=loss, slower=0.4)


def judge(student: Student, steps: int, seed: int) -> Course:
    """Two claims about each picture, right or wrong in something."""

    def loss(step: int, done: float) -> Tensor:
        rng = np.random.default_rng([seed, 3, step])
        subjects = drawn(rng, _BATCH)
        told = [(at, judge_lesson(one, rng)) for at, one in enumerate(subjects) for _ in range(2)]
        with computing(is_half_fast()):
            seen = see(student.model, _pixels(subjects, rng))
            return answer_loss(student, [lesson for _, lesson in told], seen, [at for at, _ in told])

    return Course(name="judge", steps=steps, parts={"model": student.model}, loss=loss)


def condition(student: Student, heads: ConditionHeads, steps: int, seed: int) -> Course:
    """Prompts alone, to be understood; some with their structure to be written; every third step pictures to be edited.

    Heads have to read from its features what each word speaks of, and all of it where a prompt ends: a generator is conditioned
    on those very features. A prompt without an answer costs a third, so most come without.
    """
    parts = {"model": student.model, **heads.parts}

    def words(rng: np.random.Generator) -> Tensor:
        subjects = drawn(rng, _PROMPTS, shares=_PROMPT_SHARES)
        lessons = [condition_lesson(one, rng) for one in subjects]
        told = [lessons[at] for at in range(_PROMPTS // 8)]
        told += [paraphrase_lesson(subjects[-1 - at], rng) for at in range(_PROMPTS // 32)]
        understood = understanding_loss(student, heads, lessons, subjects)
        return understood + answer_loss(student, told, None, range(len(told)))

    def loss(step: int, done: float) -> Tensor:
        rng = np.random.default_rng([seed, 4, step])
        with computing(is_half_fast()):
            return words(rng) if step % 3 else edits_loss(student, heads, edits_drawn(rng, _BATCH // 2), rng)

    return Course(name="condition", steps=steps, parts=parts, loss=loss)


def edits_loss(student: Student, heads: ConditionHeads, pairs: Sequence[EditPair], rng: np.random.Generator) -> Tensor:
    """What the features of an instruction must tell beside its picture: the scene that it makes. Some also write it."""
    before, after = ([getattr(pair, which) for pair in pairs] for which in ("before", "after"))
    seen = see(student.model, _pixels(before, rng))
    texts = [pair.instruction for pair in pairs]
    hidden, ends = instructed(student, seen, texts)
    told = heads.tail.loss(hidden, ends, after, texts) + 0.5 * heads.tokens.loss(hidden, ends, after, texts, before)
    written = [Lesson(EDIT + pair.instruction, captions(pair.after)["structured"]) for pair in pairs[: len(pairs) // 4]]
    return told + answer_loss(student, written, seen, range(len(written)))


def instructed(student: Student, seen: Seen, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Features (edits, tokens, width) of instructions behind the pictures that are to be edited, and where each ends."""
    rows = student.writer.rows([Lesson(text, "") for text in texts], pictured=True)
    return read(student.model, rows.ids, seen, rows.first, rows.alike).float(), rows.ends


def edits_drawn(rng: np.random.Generator, number: int, role: str = "train") -> list[EditPair]:
    """Of scenes of every kind that have this role."""
    found: list[EditPair] = []
    while len(found) < number:
        scene = sample(rng, pick(rng, tuple(KINDS)))
        if role_of(scene.subject_id, "") == role:
            found.append(edits.sample(scene, rng))
    return found


def answer_loss(student: Student, lessons: Sequence[Lesson], seen: Seen | None, of: Sequence[int]) -> Tensor:
    """Mean cross entropy of the answers' tokens; `of`: the picture of each lesson."""
    total, number = torch.zeros(()), 0
    for chosen in by_length([len(lesson.asked) + len(lesson.answered) for lesson in lessons], _CHUNKS):
        rows = student.writer.rows([lessons[at] for at in chosen], pictured=seen is not None)
        pictures = None if seen is None else shown(seen, [of[at] for at in chosen])
        hidden = read(student.model, rows.ids, pictures, rows.first, rows.alike)
        summed, tokens = summed_loss(student.model, hidden, rows.labels)
        total, number = total + summed, number + tokens
    return total / number


def summed_loss(model: Qwen3VLForConditionalGeneration, hidden: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """hidden: before the final norm."""
    wanted = labels[:, 1:] != IGNORED
    logits = model.lm_head(model.model.language_model.norm(hidden[:, :-1][wanted]))
    return cross_entropy(logits.float(), labels[:, 1:][wanted], reduction="sum"), int(wanted.sum())


def understanding_loss(
    student: Student, heads: ConditionHeads, lessons: Sequence[Lesson], subjects: Sequence[Subject]
) -> Tensor:
    """What the features of prompts must tell, without any answer."""
    total = torch.zeros(())
    for chosen in by_length([len(lesson.asked) for lesson in lessons], _CHUNKS):
        asked = [lessons[at].asked for at in chosen]
        rows = student.writer.rows([Lesson(text, "") for text in asked], pictured=False)
        hidden = read(student.model, rows.ids, alike=rows.alike).float()
        about = [subjects[at] for at in chosen]
        told = heads.probes.loss(gathered(hidden, rows.alike, rows.ends), about)
        told = told + 0.5 * heads.tokens.loss(hidden, rows.ends, about, asked)
        told = told + heads.tail.loss(hidden, rows.ends, about, asked)
        total = total + len(chosen) / len(lessons) * told
    return total


def shown(seen: Seen, of: Sequence[int]) -> Seen:
    """The picture of each row."""
    chosen = torch.tensor(of)
    return Seen(seen.tokens[chosen], tuple(layer[chosen] for layer in seen.deep))


def drawn(
    rng: np.random.Generator, number: int, role: str = "train", shares: Mapping[str, int] = SHARES
) -> list[Subject]:
    """Subjects by lot that have this role as pictures: what is examined was never shown in training."""
    names, weights = list(shares), np.array(list(shares.values())) / sum(shares.values())
    subjects: list[Subject] = []
    while len(subjects) < number:
        subject = _DRAWN[str(rng.choice(names, p=weights))](rng)
        if role_of(subject.subject_id, "") == role:
            subjects.append(subject)
    return subjects


def _alike(rng: np.random.Generator) -> Subject:
    """Things of one look, or one of them with another size, colour or shape."""
    scene = sample(rng, pick(rng, ("two alike", "three alike", "four alike")))
    return scene if rng.random() < 0.5 else mutated(scene, pick(rng, ("shape", "size", "colour")), rng)


_WORD_KINDS = tuple(name for name, kind in KINDS.items() if kind.lines == 1)
_DRAWN: Mapping[str, Callable[[np.random.Generator], Subject]] = {
    **{name: sort.sample for name, sort in SORTS.items()},
    "words": lambda rng: sample(rng, pick(rng, _WORD_KINDS)),
    "letters": lambda rng: sample(rng, pick(rng, _WORD_KINDS), scripts=("latin",)),
    "lines": lambda rng: sample(rng, "two words"),
    "alike": _alike,
    "emblem": any_emblem,
    "realm": SORTS["emblem"].sample,
}


def _pixels(subjects: Sequence[Subject], rng: np.random.Generator) -> Tensor:
    return patchify(np.stack([picture(subject, rng) for subject in subjects]))
