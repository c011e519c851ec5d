"""What a model is taught: a picture or none, what is asked, what is to be answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor
from transformers import Qwen2Tokenizer

from model.miniature.build.checkpoint import TOKENS
from model.miniature.build.prompts import CAPTION, JUDGE, PARAPHRASE
from model.miniature.captions import Facts, captions, compact
from model.miniature.emblem import naming
from model.miniature.facts import BEGINNINGS, CRAFTS, ENDINGS, FIRST_YEAR, LAST_YEAR, Emblem, realm_of
from model.miniature.lot import pick
from model.miniature.mutation import differences, mutated, mutations
from model.miniature.phrasing import phrased
from model.miniature.scene import Scene
from model.miniature.sorts import sort_of
from model.miniature.subject import Subject

IGNORED = -100  # a label that is no answer
MOST_WRONG = 4


@dataclass(frozen=True, slots=True)
class Lesson:
    asked: str
    answered: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Lessons as token ids, padded on the right: (rows, length). `labels` hold the answers, IGNORED elsewhere.

    `first`: the place of the picture's first token, None without one. `ends`: where each row's answer begins. The first
    `alike` tokens are the same in all rows.
    """

    ids: Tensor
    labels: Tensor
    first: int | None
    ends: Tensor
    alike: int


# How a request begins. A condition encoder reads under the system prompt of the open release's pipeline, which is dropped
# from its features afterwards; its references are numbered.
SYSTEM = "Comprehend and analyze the provided prompt."
_PICTURE = "<|vision_start|>" + "<|image_pad|>" * TOKENS + "<|vision_end|>"
_USER = "<|im_start|>user\n"
OPENINGS: Mapping[tuple[str, bool], str] = {
    ("chat", False): _USER,
    ("chat", True): _USER + _PICTURE,
    ("condition", False): f"<|im_start|>system\n{SYSTEM}<|im_end|>\n{_USER}",
    ("condition", True): f"<|im_start|>system\n{SYSTEM}<|im_end|>\n{_USER}<image1>{_PICTURE}",
}
TURN = "<|im_end|>\n<|im_start|>assistant\n"


class Writer:
    """Turns lessons into rows, all under one kind of opening. Keeps what it has encoded often: the prompts are few."""

    def __init__(self, tokenizer: Qwen2Tokenizer, opening: str = "chat") -> None:
        self._tokenizer = tokenizer
        self._kept: dict[str, list[int]] = {}
        self._openings = {pictured: self._ids(OPENINGS[opening, pictured]) for pictured in (False, True)}
        self._turn = self._ids(TURN)
        self._end, self._pad = _id(tokenizer, "<|im_end|>"), _id(tokenizer, "<|endoftext|>")
        self._first = self._openings[True].index(_id(tokenizer, "<|image_pad|>"))

    def rows(self, lessons: Sequence[Lesson], *, pictured: bool) -> Rows:
        asked = [[*self._openings[pictured], *self._ids(lesson.asked), *self._turn] for lesson in lessons]
        answered = [[*self._ids(lesson.answered, keep=False), self._end] for lesson in lessons]
        length = max(len(one) + len(two) for one, two in zip(asked, answered, strict=True))
        ids = torch.full((len(lessons), length), self._pad)
        labels = torch.full((len(lessons), length), IGNORED)
        for row, (one, two) in enumerate(zip(asked, answered, strict=True)):
            ids[row, : len(one) + len(two)] = torch.tensor(one + two)
            labels[row, len(one) : len(one) + len(two)] = torch.tensor(two)
        ends = torch.tensor([len(one) for one in asked])
        first = self._first if pictured else None
        return Rows(ids=ids, labels=labels, first=first, ends=ends, alike=first or len(self._openings[False]))

    def _ids(self, text: str, *, keep: bool = True) -> list[int]:
        if text in self._kept:
            return self._kept[text]
        ids: list[int] = self._tokenizer(text).input_ids
        if keep and len(self._kept) < 1000:
            self._kept[text] = ids
        return ids


def _id(tokenizer: Qwen2Tokenizer, token: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def caption_lessons(subject: Subject, rng: np.random.Generator) -> Mapping[str, Lesson]:
    """One lesson a kind of caption that the subject has. Emblems come with facts by lot, true or not: they are to be
    read from the prompt and not remembered."""
    facts = _facts(rng) if isinstance(subject, Emblem) else None
    lessons = {}
    for kind, answer in captions(subject, facts).items():
        given = compact(facts) if kind == "knowledge" else ""
        lessons[kind] = Lesson(CAPTION[kind] + given, answer)
    return lessons


def judge_lesson(subject: Subject, rng: np.random.Generator) -> Lesson:
    """A claim about the picture with so many things wrong, and the score that it deserves: 5 less one for each, at least 1.

    What is no scene has a claim that is right, or one about another picture.
    """
    claimed, wrong = differing_claim(subject, int(rng.integers(MOST_WRONG + 1)), rng)
    return Lesson(JUDGE + sort_of(claimed).wording(claimed, rng), compact({"score": 5 - wrong}))


def differing_claim(subject: Subject, wrong: int, rng: np.random.Generator) -> tuple[Subject, int]:
    """Another claim about the same picture, and in how many things it is wrong, at most MOST_WRONG."""
    if isinstance(subject, Scene):
        changed = subject
        for _ in range(wrong):
            changed = mutated(changed, pick(rng, mutations(changed)), rng)
        return changed, min(MOST_WRONG, differences(subject, changed))
    other: Subject = sort_of(subject).sample(rng) if wrong else subject
    return other, 0 if other == subject else MOST_WRONG


def condition_lesson(subject: Subject, rng: np.random.Generator) -> Lesson:
    """Words to structure; of an emblem that a realm bears, now and then the realm's name to its look."""
    named = isinstance(subject, Emblem) and realm_of(subject) is not None and rng.random() < 0.5
    asked = naming(subject, rng) if isinstance(subject, Emblem) and named else _requested(subject, rng)
    return Lesson(asked, captions(subject)["structured"])


def paraphrase_lesson(subject: Subject, rng: np.random.Generator) -> Lesson:
    """The same in other words."""
    return Lesson(PARAPHRASE + _requested(subject, rng), _requested(subject, rng))


def _requested(subject: Subject, rng: np.random.Generator) -> str:
    return phrased(subject, rng) if isinstance(subject, Scene) else sort_of(subject).wording(subject, rng)


def _facts(rng: np.random.Generator) -> Facts:
    names = NAMES[int(rng.integers(len(NAMES)))], NAMES[int(rng.integers(len(NAMES)))]
    year = int(rng.integers(FIRST_YEAR, LAST_YEAR + 1))
    known: dict[str, str | int] = {
        "name": names[0],
        "capital": names[1],
        "founded": year,
        "known_for": pick(rng, CRAFTS),
    }
    if rng.random() < 0.6:
        return known
    kept = [fact for fact in known if rng.random() < 0.6] or ["name"]
    return {fact: known[fact] for fact in kept}


NAMES = tuple(map("".join, product(BEGINNINGS, ENDINGS)))
