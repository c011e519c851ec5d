"""Batches: nothing is lost, no batch is over its budget, and batch k is batch k whoever asks, whenever."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.layout import Image
from model.train.batching import Mixture, Sample, Stream

GRIDS = [(Image(4, 4),), (Image(2, 8),), (Image(8, 8), Image(4, 4))]


def samples(draws: list[tuple[int, int]]) -> list[Sample]:
    return [Sample(key=f"s{at}", images=GRIDS[grid], text_tokens=length) for at, (grid, length) in enumerate(draws)]


some = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40)), min_size=1, max_size=60).map(samples)


@given(some, st.integers(120, 400), st.integers(0, 3))
def test_an_epoch_shows_every_sample_and_repeats_only_to_fill_up(
    given_samples: list[Sample], tokens: int, seed: int
) -> None:
    stream = Stream(given_samples, tokens, seed)
    for epoch in (0, 1):
        batches = [stream.batch(epoch * stream.batches_an_epoch + at) for at in range(stream.batches_an_epoch)]
        shown = Counter(place for batch in batches for place in batch.samples)
        assert set(shown) == set(range(len(given_samples)))
        assert sum(shown.values()) == len(given_samples) + sum(batch.repeated for batch in batches)
        for batch in batches:
            members = [given_samples[place] for place in batch.samples]
            assert len({member.images for member in members}) == 1
            padded = len(members) * (members[0].image_tokens + max(member.text_tokens for member in members))
            assert padded <= tokens
            assert batch.epoch == epoch


@given(some, st.integers(1, 4), st.integers(0, 30))
def test_workers_together_take_what_one_alone_takes(given_samples: list[Sample], workers: int, start: int) -> None:
    alone = Stream(given_samples, 400, 7)
    wanted = [alone.batch(start + at) for at in range(3 * workers)]
    apart = [Stream(given_samples, 400, 7) for _ in range(workers)]
    taken = [apart[at % workers].batch(start + at) for at in range(3 * workers)]
    assert taken == wanted


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    many = samples([(0, 5)] * 50)
    one, two = Stream(many, 84, 0), Stream(many, 84, 1)
    first = [one.batch(at).samples for at in range(one.batches_an_epoch)]
    assert first != [one.batch(one.batches_an_epoch + at).samples for at in range(one.batches_an_epoch)]
    assert first != [two.batch(at).samples for at in range(two.batches_an_epoch)]


def test_prompts_of_like_length_stand_together() -> None:
    lot = np.random.default_rng(0)
    many = samples([(0, int(length)) for length in lot.integers(1, 100, 640)])
    stream = Stream(many, 116 * 8, 0)
    spread = [
        np.ptp([many[place].text_tokens for place in stream.batch(at).samples]) for at in range(stream.batches_an_epoch)
    ]
    assert np.mean(spread) < 30  # by lot it would be about 78


@given(st.floats(0.05, 0.95), st.integers(1, 200))
def test_a_mixture_keeps_its_shares_at_every_moment(share: float, number: int) -> None:
    edits, images = Stream(samples([(2, 4)] * 5), 200, 0), Stream(samples([(0, 4)] * 9), 200, 0)
    mixture = Mixture({"t2i": images, "ti2i": edits}, {"t2i": 1 - share, "ti2i": share})
    found = [mixture.batch(at) for at in range(number)]
    taken = Counter(name for name, _ in found)
    assert abs(taken["ti2i"] - share * number) <= 1
    own = [batch for name, batch in found if name == "ti2i"]
    assert own == [edits.batch(at) for at in range(len(own))]


def test_three_streams_are_mixed_without_loss() -> None:
    streams = {name: Stream(samples([(0, 4)] * 9), 200, 0) for name in "abc"}
    mixture = Mixture(streams, {"a": 5, "b": 3, "c": 2})
    taken = Counter(mixture.batch(at)[0] for at in range(100))
    assert taken == {"a": 50, "b": 30, "c": 20}


def test_refusals() -> None:
    with pytest.raises(ValueError, match="no samples"):
        Stream([], 100, 0)
    with pytest.raises(ValueError, match="s1 has 46 tokens, more than the 40"):
        Stream(samples([(0, 4), (0, 30)]), 40, 0)
    with pytest.raises(ValueError, match="share above zero"):
        Mixture({"a": Stream(samples([(0, 4)]), 100, 0)}, {"a": 0.0})
