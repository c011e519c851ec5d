"""Does each kind of caption earn its place? A small CLIP is trained at equal steps on all kinds, and on all but one; each kind's
suite asks it to find pictures by that kind's words.

Every row starts from the same weights, the bundled image tower, which can read, and a new text tower; and it sees the same
pictures: where a caption of the dropped kind would be told, another kind of the same picture is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy, normalize
from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

from benchmarks.figures import Figure, Findings
from captioners import CAPTIONERS
from flywheel.encoders.clip import WEIGHTS
from model.miniature.build.contrast import ended_tokenizer, new_clip, normalized
from model.miniature.build.courses import drawn
from model.miniature.build.pictures import picture
from model.miniature.build.tokenizer import world_tokenizer
from model.miniature.build.towers import image_vectors, text_vectors
from model.miniature.build.trainer import Course, follow
from model.miniature.captions import captions
from model.miniature.facts import Emblem, realm_of, realms
from model.miniature.subject import Subject
from pipelines.profiles import bundled_home

STEPS, BATCH, SUITE = 400, 96, 128
KINDS = tuple(CAPTIONERS)
_SHARES = {"scene": 40, "words": 35, "realm": 25}


def run(place: Path) -> Findings:
    """The 4 x 4 matrix, and the row that drops nothing."""
    tokenizer = world_tokenizer()
    words = ended_tokenizer(tokenizer)
    suites = {kind: _suite(kind) for kind in KINDS}
    table: dict[str, Mapping[str, float]] = {}
    for dropped in ("nothing", *KINDS):
        taught = [kind for kind in KINDS if kind != dropped]
        clip = _started(tokenizer)
        follow(_course(clip, words, taught, dropped), place, lambda said: None)
        clip.eval()
        table[dropped] = {kind: _found(clip, words, kind, subjects) for kind, subjects in suites.items()}
    figures = [
        Figure(
            name=f"{kind}: found by its words, all kinds taught less without it",
            measured=table["nothing"][kind] - table[kind][kind],
            unit="of recall@1",
            target=0.05,
        )
        for kind in KINDS
    ]
    sizes = ", ".join(f"{kind} {len(suite)}" for kind, suite in suites.items())
    how = f"{STEPS} steps of {BATCH} pictures a row; recall@1 among pictures that training never showed ({sizes}; realms are few and all known)."
    return Findings(title="Each kind of caption", how=how, figures=figures, below=[_drawn(table)])


def _drawn(table: Mapping[str, Mapping[str, float]]) -> str:
    head = ["| dropped | " + " | ".join(f"{kind} suite" for kind in KINDS) + " |", "|---" * (len(KINDS) + 1) + "|"]
    rows = [f"| {name} | " + " | ".join(f"{row[kind]:.2f}" for kind in KINDS) + " |" for name, row in table.items()]
    return "\n".join([*head, *rows])


def _started(tokenizer: Qwen2Tokenizer) -> open_clip.CLIP:
    clip, own = new_clip(tokenizer, 0), "visual."
    bundled = load_file(bundled_home() / "clip-miniature-1" / WEIGHTS)
    eyes = {name.removeprefix(own): weight.float() for name, weight in bundled.items() if name.startswith(own)}
    clip.visual.load_state_dict(eyes)
    return clip


def _course(clip: open_clip.CLIP, words: PreTrainedTokenizerFast, taught: Sequence[str], name: str) -> Course:
    def loss(step: int, done: float) -> torch.Tensor:
        rng = np.random.default_rng([3, step])
        subjects = drawn(rng, BATCH, shares=_SHARES)
        pixels = normalized(np.stack([picture(subject, rng) for subject in subjects]))
        said = [_said(subject, taught, rng) for subject in subjects]
        ids = words(said, padding=True, truncation=True, return_tensors="pt").input_ids
        with torch.autocast("cpu", torch.bfloat16):
            images, texts = image_vectors(clip, pixels)[0], text_vectors(clip, ids)
        cosines = normalize(images.float(), dim=-1) @ normalize(texts.float(), dim=-1).T
        logits, own = clip.logit_scale.exp().clamp(max=100) * cosines, torch.arange(len(said))
        return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2

    return Course(name=f"without-{name}", steps=STEPS, parts={"model": clip}, loss=loss)


def _told(subject: Subject) -> dict[str, str]:
    """What each kind says of it, as text."""
    realm = realm_of(subject) if isinstance(subject, Emblem) else None
    told = captions(subject, realm.facts() if realm is not None else None)
    return {kind: CAPTIONERS[kind].text(json.loads(answer)) for kind, answer in told.items()}


def _said(subject: Subject, taught: Sequence[str], rng: np.random.Generator) -> str:
    told = _told(subject)
    known = [kind for kind in told if kind in taught] or list(told)
    return told[known[int(rng.integers(len(known)))]]


_SUITES: Mapping[str, Callable[[np.random.Generator], list[Subject]]] = {
    "general": lambda rng: drawn(rng, SUITE, "report", {"scene": 1}),
    "structured": lambda rng: drawn(rng, SUITE, "report", {"scene": 1}),
    "text": lambda rng: drawn(rng, SUITE, "report", {"words": 1}),
    "knowledge": lambda rng: [realm.emblem for realm in realms()],
}


def _suite(kind: str) -> list[Subject]:
    """Pictures that the kind's words tell apart."""
    by_words: dict[str, Subject] = {}
    for subject in _SUITES[kind](np.random.default_rng(9)):
        by_words.setdefault(_told(subject)[kind], subject)
    return list(by_words.values())


@torch.no_grad()
def _found(clip: open_clip.CLIP, words: PreTrainedTokenizerFast, kind: str, subjects: Sequence[Subject]) -> float:
    rng = np.random.default_rng(10)
    images = clip.encode_image(normalized(np.stack([picture(subject, rng) for subject in subjects])))
    ids = words([_told(one)[kind] for one in subjects], padding=True, truncation=True, return_tensors="pt").input_ids
    cosines = normalize(text_vectors(clip, ids), dim=-1) @ normalize(images, dim=-1).T
    return float((cosines.argmax(1) == torch.arange(len(subjects))).float().mean())
