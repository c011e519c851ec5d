"""Which samples make up which batch: a pure function of the seed and the batch's number.

Nothing here remembers anything, so that a run goes on exactly where it was, also with another number of workers: batch k is
batch k, and whoever is the r-th of n workers takes batches r, r + n, r + 2n …

    bucket      samples of one layout but for the length of their prompts: the same target, the same references
    batch       of one bucket, as many samples as fit the budget of tokens; neighbours have prompts of like length
    stream      all batches of one kind of samples, an epoch after another, each in an order of its own
    mixture     several streams by shares: T2I and TI2I, replay and new
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flywheel.seeds import stable_hash
from model.layout import Image

_WINDOW = 8  # batches among which prompts are sorted by length: more would show long prompts together. Our choice.


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What batching has to know: the grids, references first, and how long the prompt is."""

    key: str
    images: tuple[Image, ...]
    text_tokens: int

    @property
    def image_tokens(self) -> int:
        return sum(image.tokens for image in self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Places in the stream's samples. The last `repeated` ones are shown twice in this epoch, to fill it up."""

    samples: tuple[int, ...]
    epoch: int
    repeated: int


class Stream:
    """Batches of at most `tokens` tokens, padding counted. Raises ValueError without samples, or for one that fits no batch."""

    def __init__(self, samples: Sequence[Sample], tokens: int, seed: int) -> None:
        if not samples:
            raise ValueError("there are no samples to make batches of")
        self._seed = seed
        self._buckets = [_Bucket(samples, places, tokens) for places in _by_grids(samples)]
        self.batches_an_epoch = sum(bucket.batches for bucket in self._buckets)
        self._epoch = lru_cache(maxsize=2)(self._ordered)

    def batch(self, number: int) -> Batch:
        """The batch of this number, 0 and up, across all epochs."""
        epoch, at = divmod(number, self.batches_an_epoch)
        return self._epoch(epoch)[at]

    def _ordered(self, epoch: int) -> Sequence[Batch]:
        """Every bucket in an order of its own, then all batches in one."""
        found = [batch for at, bucket in enumerate(self._buckets) for batch in bucket.cut(epoch, self._lot(epoch, at))]
        return [found[at] for at in self._lot(epoch, -1).permutation(len(found))]

    def _lot(self, epoch: int, bucket: int) -> np.random.Generator:
        return np.random.default_rng(int(stable_hash([self._seed, epoch, bucket], 16), 16))


class _Bucket:
    """`size` samples a batch: as many as fit where all prompts are as long as its longest."""

    def __init__(self, samples: Sequence[Sample], places: Sequence[int], tokens: int) -> None:
        longest = max(samples[at].text_tokens for at in places)
        each = samples[places[0]].image_tokens + longest
        if each > tokens:
            key = max(places, key=lambda at: samples[at].text_tokens)
            raise ValueError(f"{samples[key].key} has {each} tokens, more than the {tokens} of a batch")
        self.size = tokens // each
        self._places, self._lengths = np.array(places), np.array([samples[at].text_tokens for at in places])
        self.batches = -(-len(places) // self.size)

    def cut(self, epoch: int, lot: np.random.Generator) -> list[Batch]:
        order = lot.permutation(len(self._places))
        missing = self.batches * self.size - len(order)
        filled = np.concatenate([order, np.resize(order, missing)])
        found = []
        for start in range(0, len(filled), _WINDOW * self.size):
            window = np.arange(start, min(start + _WINDOW * self.size, len(filled)))
            window = window[np.argsort(self._lengths[filled[window]], kind="stable")]
            for at in range(0, len(window), self.size):
                places = window[at : at + self.size]
                repeated = int((places >= len(order)).sum())
                found.append(
                    Batch(samples=tuple(self._places[filled[places]].tolist()), epoch=epoch, repeated=repeated)
                )
        return found


class Mixture:
    """Streams by shares, as evenly interleaved as whole batches can be. Raises ValueError for shares that are none."""

    def __init__(self, streams: Mapping[str, Stream], shares: Mapping[str, float]) -> None:
        if streams.keys() != shares.keys() or not shares or min(shares.values()) <= 0:
            raise ValueError(f"a share above zero for each of {', '.join(streams)}, not {dict(shares)}")
        total = sum(shares.values())
        self._streams, self._shares = streams, {name: share / total for name, share in shares.items()}

    def batch(self, number: int) -> tuple[str, Batch]:
        """Which stream the batch of this number is of, and that stream's batch: the first takes its share, the next its
        share of what is left, and so on."""
        left = 1.0
        *others, last = self._shares
        for name in others:
            share = self._shares[name] / left
            before, after = (math.floor(share * upto + 0.5) for upto in (number, number + 1))
            if after > before:
                return name, self._streams[name].batch(before)
            number, left = number - before, left - self._shares[name]
        return last, self._streams[last].batch(number)


def _by_grids(samples: Sequence[Sample]) -> list[list[int]]:
    """Places of samples that can share a layout, in the order of their first."""
    found: dict[tuple[Image, ...], list[int]] = {}
    for at, sample in enumerate(samples):
        found.setdefault(sample.images, []).append(at)
    return list(found.values())
