"""Shard planning: every image once, limits kept, the same cut every time."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines.export.shards import plan

IMAGES = st.lists(st.tuples(st.sampled_from(["1x1-64", "2x3-64", "3x2-128"]), st.integers(1, 50)), max_size=60).map(
    lambda images: sorted(images, key=lambda image: image[0])
)


@given(IMAGES, st.integers(1, 120), st.integers(1, 10))
def test_every_image_is_in_exactly_one_shard_within_the_limits(
    images: list[tuple[str, int]], limit: int, most: int
) -> None:
    groups, sizes = [group for group, _ in images], [size for _, size in images]
    shards = plan(groups, sizes, limit, most)
    assert [index for shard in shards for index in range(shard.start, shard.stop)] == list(range(len(images)))
    for shard in shards:
        assert len(set(groups[shard.start : shard.stop])) == 1
        assert sum(sizes[shard.start : shard.stop]) <= limit or shard.stop - shard.start == 1
        assert 1 <= shard.stop - shard.start <= most
    assert len({shard.name for shard in shards}) == len(shards)
    assert plan(groups, sizes, limit, most) == shards


@given(IMAGES, st.integers(1, 120))
def test_no_shard_could_have_taken_the_next_image(images: list[tuple[str, int]], limit: int) -> None:
    groups, sizes = [group for group, _ in images], [size for _, size in images]
    for one, other in pairwise(plan(groups, sizes, limit)):
        same = groups[one.start] == groups[other.start]
        assert not same or sum(sizes[one.start : other.start + 1]) > limit


def test_names_count_within_a_group() -> None:
    named = [shard.name for shard in plan(["a", "a", "b", "b", "b"], [5, 5, 5, 5, 5], 10)]
    assert named == ["a/00000", "b/00000", "b/00001"]
    assert [shard.name for shard in plan(["", ""], [5, 6], 10)] == ["00000", "00001"]
