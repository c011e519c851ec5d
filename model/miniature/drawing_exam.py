"""How much of what a generator is asked for it draws, on prompts that training never had.

Text to image by checker B, level by level. An edit counts when it is done and the rest is as it was: what should come out is
known to the pixel, since the world draws both pictures of a pair from the same lots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from model.miniature import creature, edits, grammar, levels, matched, segmented
from model.miniature.lot import pick
from model.miniature.render import render
from model.miniature.roles import role_of
from model.miniature.scene import Scene
from model.miniature.verdict import Checker
from model.sample import ImageModel, as_picture
from model.vae_linear import LinearVAE
from model.vae_metrics import psnr

SIDE_PX = 96
_AT_ONCE = 64
Levels = npt.NDArray[np.float32]  # (height, width, 3), 0 to 255

# Where the two pictures of a pair differ by so many levels, and this near it, is what an edit is about; px of 96. Our choice.
_CHANGED, _AROUND_PX = 20, 5
# Elsewhere no block of so many px may be so many levels off on average; fewer of its pixels than a quarter do not count.
_BLOCK_PX, _OFF = 8, 20.0
_SOFTENED_PX = 2.0
_DONE = 0.5  # how near the wanted picture is to be, beside how far the edit went


class Makes(Protocol):
    """Draws pictures for prompts and seeds, each with its own references."""

    def __call__(
        self, prompts: Sequence[str], seeds: Sequence[int], references: Sequence[Sequence[Image.Image]] | None
    ) -> list[Image.Image]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Shares of `number` pictures: wholly right, and by facet of those that have it."""

    number: int
    exact: float
    facets: Mapping[str, float]


def as_usual(model: ImageModel) -> Makes:
    """As the model samples where nobody says otherwise."""

    def make(
        prompts: Sequence[str], seeds: Sequence[int], references: Sequence[Sequence[Image.Image]] | None
    ) -> list[Image.Image]:
        return model.generate(prompts, seeds, model.sampling, references)

    return make


def report(model: ImageModel, number: int, role: str, seeds: Sequence[int] = (0, 1, 2)) -> dict[str, dict[str, float]]:
    """By suite: the share that is wholly right, over all seeds and the least of them, then by facet."""
    make = as_usual(model)
    found = {level: [drawn_right(make, level, number, role, seed) for seed in seeds] for level in levels.LEVELS}
    for name, pairs in edit_suites(number, role).items():
        found[f"edits of {name}"] = [edited_right(make, pairs, seed) for seed in seeds]
    told = {name: _told(marks) for name, marks in found.items()}
    assert isinstance(model.vae, LinearVAE)
    return {**told, "reconstructions": reconstructed_right(model.vae, number, role)}


def _told(marks: Sequence[Marks]) -> dict[str, float]:
    exact = [one.exact for one in marks]
    facets = {name: float(np.mean([one.facets[name] for one in marks])) for name in marks[0].facets}
    return {"exact": float(np.mean(exact)), "exact, least": min(exact), **facets}


def drawn_right(make: Makes, level: str, number: int, role: str, seed: int, check: Checker = segmented.check) -> Marks:
    """Of a level's prompts. Raises KeyError for a level that is none."""
    asked = levels.prompts(level, number, role)
    found = []
    for start in range(0, number, _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        made = make([one.text for one in part], [seed * number + start + at for at in range(len(part))], None)
        found += [check(one.scene, picture).facets for one, picture in zip(part, made, strict=True)]
    return _marks(found)


def edit_suites(number: int, role: str) -> Mapping[str, Sequence[edits.EditPair]]:
    """So many edits of scenes, and as many creatures that are given something to wear."""
    return {
        "scenes": [edits.sample(*_scene(rng, role)) for rng in _lots(number, 50)],
        "creatures": [edits.dressing(*_identity(rng, role)) for rng in _lots(number, 51)],
    }


def edit_verdict(
    pair: edits.EditPair, before: Image.Image, after: Image.Image, made: Image.Image
) -> Mapping[str, bool]:
    """`before` and `after` as the world draws the pair. Of a scene, done is what checker B says of all of it."""
    old, new, found = _levels(before), _levels(after), _levels(made)
    about = np.abs(new - old).max(axis=2) > _CHANGED
    if isinstance(pair.after, Scene):
        done = segmented.check(pair.after, made).exact
    else:
        done = bool(np.abs(found - new)[about].mean() < _DONE * np.abs(old - new)[about].mean())
    return {"done": done, "kept": _kept(old, found, about)}


def _kept(old: Levels, found: Levels, about: npt.NDArray[np.bool_]) -> bool:
    """Whether nothing is amiss outside of what the edit is about."""
    size = 2 * _AROUND_PX + 1
    outside = 1 - cv2.dilate(about.astype(np.float32), np.ones((size, size), np.uint8))
    off = np.abs(found - old).mean(axis=2) * outside
    share, sums = _blocks(outside), _blocks(off)
    return bool((sums / np.maximum(share, 1e-6))[share >= 0.25].max(initial=0.0) < _OFF)


def _blocks(plane: Levels) -> Levels:
    """Means of square blocks."""
    high, wide = plane.shape[0] // _BLOCK_PX, plane.shape[1] // _BLOCK_PX
    blocks: Levels = plane.reshape(high, _BLOCK_PX, wide, _BLOCK_PX).mean(axis=(1, 3))
    return blocks


def edited_right(make: Makes, pairs: Sequence[edits.EditPair], seed: int) -> Marks:
    found = []
    for start in range(0, len(pairs), _AT_ONCE):
        part = pairs[start : start + _AT_ONCE]
        drawn = [pair.pictures(SIDE_PX, start + at) for at, pair in enumerate(part)]
        seeds = [seed * len(pairs) + start + at for at in range(len(part))]
        made = make([pair.instruction for pair in part], seeds, [[before] for before, _ in drawn])
        found += [
            edit_verdict(pair, before, after, picture)
            for pair, (before, after), picture in zip(part, drawn, made, strict=True)
        ]
    return _marks(found)


def _marks(found: Sequence[Mapping[str, bool]]) -> Marks:
    names = dict.fromkeys(name for one in found for name in one)
    return Marks(
        number=len(found),
        exact=float(np.mean([all(one.values()) for one in found])),
        facets={name: float(np.mean([one[name] for one in found if name in one])) for name in names},
    )


def _lots(number: int, stream: int) -> Iterator[np.random.Generator]:
    return (np.random.default_rng([stream, at]) for at in range(number))


def _scene(rng: np.random.Generator, role: str) -> tuple[Scene, np.random.Generator]:
    while True:
        scene = grammar.sample(rng, held_out=levels.NEVER_PAIRED)
        if role_of(scene.subject_id, "") == role:
            return scene, rng


def _identity(rng: np.random.Generator, role: str) -> tuple[creature.Identity, np.random.Generator]:
    while True:
        bare = creature.Creature(identity=creature.sample(rng).identity)
        if role_of(bare.subject_id, "") == role:
            return bare.identity, rng


def _levels(picture: Image.Image) -> Levels:
    """Softened: how sharp an autoencoder is, is not asked here."""
    softened: Levels = cv2.GaussianBlur(np.asarray(picture.convert("RGB"), np.float32), (0, 0), _SOFTENED_PX)
    return softened


def reconstructed_right(vae: LinearVAE, number: int, role: str) -> dict[str, float]:
    """Of scenes of all kinds, and of words alone: dB, and the share in which both checkers still find what was drawn."""
    found: dict[str, float] = {}
    for name, kinds in (("scenes", grammar.USUAL_KINDS), ("words alone", ("word",))):
        scenes = [_of_kind(rng, kinds, role) for rng in _lots(number, 52)]
        pictures = [render(scene, SIDE_PX, at).image for at, scene in enumerate(scenes)]
        image = torch.stack([_image(picture) for picture in pictures])
        with torch.no_grad():
            made = vae.decode(vae.encode(image))
        found[f"{name}, dB"] = float(psnr(made, image).mean())
        for checker, check in (("A", matched.check), ("B", segmented.check)):
            verdicts = [check(scene, as_picture(one.clamp(-1, 1))) for scene, one in zip(scenes, made, strict=True)]
            found[f"{name}, checker {checker}"] = float(np.mean([one.exact for one in verdicts]))
            words = [one.facets["words"] for one in verdicts if "words" in one.facets]
            found[f"{name}, every sign by {checker}"] = float(np.mean(words))
    return found


def _of_kind(rng: np.random.Generator, kinds: Sequence[str], role: str) -> Scene:
    while True:
        scene = grammar.sample(rng, pick(rng, kinds))
        if role_of(scene.subject_id, "") == role:
            return scene


def _image(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 127.5 - 1
