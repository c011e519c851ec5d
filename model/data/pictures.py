"""Pictures of examples, read and framed in a sandbox child: first their sizes, then the pixels of those that are needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from flywheel.images.sandbox import Sandbox
from flywheel.records import Budgets, Failure
from flywheel.seeds import content_id
from model.data.examples import Example, Readable
from model.data.framing import TASK, Framed, Pixels, Wanted, decoding
from model.layout import Image, whole_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """`name`: of its latents, by content and frame. `grid`: what it takes of the sequence."""

    name: str
    side_px: int
    grid: Image
    data: bytes


class PictureReader:
    """`left_out` counts what cannot be used, by reason. Use it as a context: it holds a child process."""

    def __init__(self, sides_px: tuple[int, ...], alpha: bool, left_out: Counter[str]) -> None:
        self._sides_px, self._left_out, self._budgets = sides_px, left_out, Budgets()
        self._child: Sandbox[Wanted, Framed] = decoding(TASK, alpha)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._child.close()

    def pictures(self, examples: Sequence[Example]) -> list[tuple[Picture, ...] | None]:
        """Of each example its references, then its target; None where one of them cannot be used.

        References take the target's resolution, whatever they reach.
        """
        targets = self._sized([(example.image, self._sides_px, False) for example in examples])
        asked = [
            (reference, (target.side_px,), True)
            for example, target in zip(examples, targets, strict=True)
            if target is not None
            for reference in example.references
        ]
        references = iter(self._sized(asked))
        found: list[tuple[Picture, ...] | None] = []
        for example, target in zip(examples, targets, strict=True):
            own = [next(references) for _ in example.references] if target is not None else []
            whole = [one for one in (*own, target) if one is not None]
            found.append(tuple(whole) if len(whole) == len(example.references) + 1 else None)
        return found

    def pixels(self, pictures: Sequence[Picture]) -> dict[str, Pixels]:
        """By the name of each that can be decoded."""
        asked = [Wanted(data=one.data, sides_px=(one.side_px,), pixels=True, at_any_rate=True) for one in pictures]
        found = {}
        for picture, answer in zip(pictures, self._child.run(asked), strict=True):
            if isinstance(answer, Failure):
                self._left_out[answer.reason.value] += 1
            elif answer.pixels is not None:
                found[picture.name] = answer.pixels
        return found

    def _sized(self, asked: Sequence[tuple[Readable, tuple[int, ...], bool]]) -> list[Picture | None]:
        read = [self._read(image) for image, _, _ in asked]
        wanted = [
            Wanted(data=data, sides_px=sides_px, pixels=False, at_any_rate=at_any_rate)
            for data, (_, sides_px, at_any_rate) in zip(read, asked, strict=True)
            if data is not None
        ]
        answers = self._child.run(wanted)
        return [None if data is None else self._picture(data, next(answers)) for data in read]

    def _read(self, image: Readable) -> bytes | None:
        try:
            return image.read(self._budgets.max_bytes)
        except OSError:
            self._left_out["unreadable"] += 1
            return None

    def _picture(self, data: bytes, answer: Framed | Failure) -> Picture | None:
        if isinstance(answer, Failure):
            self._left_out[answer.reason.value] += 1
            return None
        if answer.side_px is None:
            self._left_out["below the lowest resolution"] += 1
            return None
        name = f"{content_id(data)}-{answer.width_px}x{answer.height_px}"
        grid = whole_tokens(answer.height_px, answer.width_px)
        return Picture(name=name, side_px=answer.side_px, grid=grid, data=data)
