"""Where text and image tokens stand in the one sequence that the network reads.

A layout is a run of pieces: text, reference images in place inside the prompt, and the target image last.

    Text(5)  Image(4, 6)  Text(9)  Image(8, 8)        an edit: 5 + 24 + 9 tokens of prefix, 64 of the target

Pure integers. All samples of a batch share a layout; prompts shorter than their batch's longest are padded on the right
of their last text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

TOKEN_PX = 16  # the side of what one token shows
Position = tuple[int, int, int]  # frame, height, width


@dataclass(frozen=True, slots=True)
class Text:
    """A run of text tokens; may be empty."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Image:
    """A grid of latent tokens."""

    height: int
    width: int

    @property
    def tokens(self) -> int:
        return self.height * self.width


Piece = Text | Image


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens `start` to `end` that attend alike: to all before `end`; `causal` ones to none after themselves."""

    start: int
    end: int
    causal: bool


@dataclass(frozen=True)
class Layout:
    """Raises ValueError where the last piece is no image: there would be nothing to make."""

    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        if not self.pieces or not isinstance(self.pieces[-1], Image):
            raise ValueError("a layout ends with the image that is to be made")

    @property
    def target(self) -> Image:
        last = self.pieces[-1]
        assert isinstance(last, Image)
        return last

    @property
    def images(self) -> tuple[Image, ...]:
        """References in order, the target last."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Image))

    @cached_property
    def tokens(self) -> int:
        return sum(piece.tokens for piece in self.pieces)

    @cached_property
    def prefix(self) -> int:
        """Tokens before the target."""
        return self.tokens - self.target.tokens

    @cached_property
    def text_places(self) -> tuple[int, ...]:
        return tuple(at for at, image in self._spread() if image is None)

    @cached_property
    def image_places(self) -> tuple[int, ...]:
        return tuple(at for at, image in self._spread() if image is not None)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Every piece that has tokens, as the block-causal mask has it: text causal, each image whole, all before in sight."""
        found, start = [], 0
        for piece in self.pieces:
            if piece.tokens:
                found.append(Segment(start, start + piece.tokens, isinstance(piece, Text)))
            start += piece.tokens
        return tuple(_joined(found))

    @cached_property
    def positions(self) -> tuple[Position, ...]:
        """MSRoPE of 2.1: text walks the diagonal; an image stands still in the first axis, its grid centred on zero.

        After an image the walk goes on as far as its longer side.
        """
        found: list[Position] = []
        at = 0
        for piece in self.pieces:
            if isinstance(piece, Text):
                found += [(step, step, step) for step in range(at, at + piece.tokens)]
                at += piece.tokens
            else:
                found += [(at, y, x) for y in _centred(piece.height) for x in _centred(piece.width)]
                at += max(piece.height, piece.width)
        return tuple(found)

    def _spread(self) -> Iterator[tuple[int, Image | None]]:
        """Each token's place, and the image it is of."""
        at = 0
        for piece in self.pieces:
            for _ in range(piece.tokens):
                yield at, piece if isinstance(piece, Image) else None
                at += 1


def whole_tokens(height_px: int, width_px: int) -> Image:
    """The grid of an image of this size. Raises ValueError for sides that are no whole tokens."""
    if height_px % TOKEN_PX or width_px % TOKEN_PX or min(height_px, width_px) < TOKEN_PX:
        raise ValueError(f"sides are multiples of {TOKEN_PX} px, not {width_px} x {height_px}")
    return Image(height_px // TOKEN_PX, width_px // TOKEN_PX)


def text_to_image(tokens: int, height: int, width: int) -> Layout:
    """A prompt of so many tokens, then the target of so many latent tokens high and wide."""
    return Layout((Text(tokens), Image(height, width)))


def edit(texts: Sequence[int], references: Sequence[Image], target: Image) -> Layout:
    """Text runs before, between and after the references. Raises ValueError unless there is one run more than references."""
    if len(texts) != len(references) + 1:
        raise ValueError(
            f"{len(references)} references stand between {len(references) + 1} runs of text, not {len(texts)}"
        )
    pieces: list[Piece] = [Text(texts[0])]
    for reference, tokens in zip(references, texts[1:], strict=True):
        pieces += [reference, Text(tokens)]
    return Layout((*pieces, target))


def _centred(side: int) -> range:
    return range(-(side - side // 2), side // 2)


def _joined(segments: Sequence[Segment]) -> Iterator[Segment]:
    """Runs of text that no image parts are one."""
    last: Segment | None = None
    for segment in segments:
        if last is not None and last.causal and segment.causal:
            last = Segment(last.start, segment.end, True)
            continue
        if last is not None:
            yield last
        last = segment
    if last is not None:
        yield last
