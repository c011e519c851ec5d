"""Before the first step: every image through the autoencoder, every prompt through the condition encoder, each once.

What is there already, by content and by the encoders' hashes, is not made again. What cannot be trained on is left out and
counted. Latents are kept as the autoencoder gives them; normalising them is the loader's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image as Pictures
from torch import Tensor

from flywheel.seeds import stable_hash
from model.condition import NULL_PROMPT, TEMPLATE_DIGEST, Condition, ConditionEncoder
from model.data.examples import Example
from model.data.framing import Pixels
from model.data.pictures import Picture, PictureReader
from model.data.store import Store
from model.layout import Image
from model.precision import CPU, placed
from model.vae import VAE
from model.vae_linear import LinearVAE

_CHUNK = 256  # examples on their way at once, whose pixels are held. Our choice
_IMAGES, _PROMPTS = 16, 64  # through an encoder at once. Our choice
_LATENTS_DTYPE, _FEATURES_DTYPE = torch.float16, torch.bfloat16
Progress = Callable[[int, int], None]  # examples done, of all


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An example as the loader finds it: names of latents (references, then the target), of the prompt and of its null."""

    key: str
    latents: tuple[str, ...]
    images: tuple[Image, ...]
    prompt: str
    null: str
    text_tokens: int

    @property
    def tokens(self) -> int:
        return self.text_tokens + sum(image.tokens for image in self.images)

    @classmethod
    def from_dict(cls, read: Mapping[str, Any]) -> Self:
        images = tuple(Image(**image) for image in read["images"])
        return cls(**{**read, "images": images, "latents": tuple(read["latents"])})


@dataclass(slots=True)
class Prepared:
    """In the order of their examples; and how many were left out, by reason."""

    text_to_image: list[Shown] = field(default_factory=list)
    edits: list[Shown] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> str:
        kinds = {"text_to_image": self.text_to_image, "edits": self.edits}
        told = {name: [asdict(one) for one in shown] for name, shown in kinds.items()}
        return json.dumps({**told, "left_out": self.left_out})  # asdict would make pairs of a Counter's names

    @classmethod
    def joined(cls, parts: Sequence[str], order: Sequence[Example]) -> Self:
        """What several workers have prepared, each a part of all examples, as if one had."""
        place = {example.key: at for at, example in enumerate(order)}
        found = cls()
        for part in map(json.loads, parts):
            found.text_to_image += map(Shown.from_dict, part["text_to_image"])
            found.edits += map(Shown.from_dict, part["edits"])
            found.left_out.update(part["left_out"])
        for kind in (found.text_to_image, found.edits):
            kind.sort(key=lambda one: place[one.key])
        return found


class Preparation:
    """The frozen half of a model, with the stores of what it makes. Raises FlywheelError for stores of another."""

    def __init__(
        self, condition: ConditionEncoder, vae: VAE | LinearVAE, cache: Path, device: torch.device = CPU
    ) -> None:
        self._condition, self._vae, self._device = condition, vae, device
        self.latents = Store(cache / "latents", _latents_identity(vae))
        self.prompts = Store(cache / "prompts", _prompts_identity(condition))

    def look_again(self) -> None:
        """For what other workers have made."""
        self.latents.look_again()
        self.prompts.look_again()

    def prepared(
        self, examples: Sequence[Example], sides_px: tuple[int, ...], tokens: int, progress: Progress
    ) -> Prepared:
        """`tokens`: what one batch may hold; an example with more is left out."""
        found = Prepared()
        alpha = self._vae.config.in_channels == 4
        with (
            placed(self._condition.module, self._device),
            placed(self._vae, self._device),
            PictureReader(tuple(sorted(sides_px)), alpha, found.left_out) as reader,
        ):
            for start in range(0, len(examples), _CHUNK):
                chunk = examples[start : start + _CHUNK]
                for shown, is_edit in self._encoded(reader, chunk):
                    if shown.tokens > tokens:
                        found.left_out["more tokens than a batch"] += 1
                    else:
                        (found.edits if is_edit else found.text_to_image).append(shown)
                progress(start + len(chunk), len(examples))
        self.latents.flush()
        self.prompts.flush()
        return found

    def _encoded(self, reader: PictureReader, chunk: Sequence[Example]) -> Iterator[tuple[Shown, bool]]:
        usable = [
            (example, pictures)
            for example, pictures in zip(chunk, reader.pictures(chunk), strict=True)
            if pictures is not None
        ]
        needed = {picture.name: picture for one in usable for picture in self._needed(*one)}
        pixels = reader.pixels(list(needed.values()))
        lost = needed.keys() - pixels.keys()
        usable = [one for one in usable if not lost.intersection(picture.name for picture in one[1])]
        self._encode_images(pixels)
        self._encode_prompts(usable, pixels)
        for example, pictures in usable:
            yield self._shown(example, pictures), bool(example.references)

    def _needed(self, example: Example, pictures: Sequence[Picture]) -> list[Picture]:
        """Those whose pixels something must be made of: latents, or a prompt that sees them."""
        unread = bool(example.references) and self._lacks_prompt(example, pictures)
        return [
            picture for picture in pictures if picture.name not in self.latents or (unread and picture != pictures[-1])
        ]

    @torch.no_grad()
    def _encode_images(self, pixels: Mapping[str, Pixels]) -> None:
        device = next(self._vae.parameters()).device
        for names in _alike({name: one for name, one in pixels.items() if name not in self.latents}):
            images = torch.stack([as_image(pixels[name]) for name in names]).to(device)
            for name, latents in zip(names, self._vae.encode(images).to(_LATENTS_DTYPE), strict=True):
                self.latents.add(name, latents)

    def _encode_prompts(
        self, usable: Sequence[tuple[Example, Sequence[Picture]]], pixels: Mapping[str, Pixels]
    ) -> None:
        """Those without pictures in order of length; an edit's null sees what the edit sees."""
        alone, seeing = {prompt_name(NULL_PROMPT, ()): NULL_PROMPT}, dict[str, tuple[str, list[Pictures.Image]]]()
        for example, pictures in usable:
            if not self._lacks_prompt(example, pictures):
                continue
            if not example.references:
                alone[prompt_name(example.caption, ())] = example.caption
                continue
            before = [Pictures.fromarray(pixels[one.name]) for one in pictures[:-1]]
            for prompt in (example.caption, NULL_PROMPT):
                seeing[prompt_name(prompt, pictures[:-1])] = prompt, before
        new = sorted((name for name in alone if name not in self.prompts), key=lambda name: len(alone[name]))
        for names in _parts(new, _PROMPTS):
            self._keep_all(names, self._condition.encode([alone[name] for name in names]))
        for names in _parts(list(seeing), _IMAGES):
            asked = [seeing[name] for name in names]
            self._keep_all(names, self._condition.encode([prompt for prompt, _ in asked], [seen for _, seen in asked]))

    def _keep_all(self, names: Sequence[str], conditions: Sequence[Condition]) -> None:
        for name, condition in zip(names, conditions, strict=True):
            self.prompts.add(f"{name}/runs", torch.tensor(condition.runs))
            self.prompts.add(name, condition.features_SE.to(_FEATURES_DTYPE))

    def _lacks_prompt(self, example: Example, pictures: Sequence[Picture]) -> bool:
        names = (prompt_name(prompt, pictures[:-1]) for prompt in (example.caption, NULL_PROMPT))
        return not all(name in self.prompts for name in names)

    def _shown(self, example: Example, pictures: Sequence[Picture]) -> Shown:
        prompt = prompt_name(example.caption, pictures[:-1])
        return Shown(
            key=example.key,
            latents=tuple(picture.name for picture in pictures),
            images=tuple(picture.grid for picture in pictures),
            prompt=prompt,
            null=prompt_name(NULL_PROMPT, pictures[:-1]),
            text_tokens=int(self.prompts[f"{prompt}/runs"].sum()),
        )


def prompt_name(prompt: str, references: Sequence[Picture]) -> str:
    return stable_hash([prompt, [one.name for one in references]], 32)


def as_image(pixels: Pixels) -> Tensor:
    """(channels, height, width) in -1..1."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1


def _latents_identity(vae: VAE | LinearVAE) -> dict[str, str]:
    """All that latents depend on beside the picture and its size."""
    return {"autoencoder": vae.encoder_digest(), "precision": str(_LATENTS_DTYPE), "frame": "middle, lanczos"}


def _prompts_identity(condition: ConditionEncoder) -> dict[str, str]:
    return {
        "condition encoder": condition.digest(),
        "template": TEMPLATE_DIGEST,
        "precision": str(_FEATURES_DTYPE),
    }


def _alike(pixels: Mapping[str, Pixels]) -> Iterator[Sequence[str]]:
    """Names of pictures of one size, as many as go through the encoder at once."""
    for shape in sorted({one.shape for one in pixels.values()}):
        names = [name for name, one in pixels.items() if one.shape == shape]
        yield from _parts(names, _IMAGES)


def _parts(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))
