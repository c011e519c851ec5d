"""The contract of every sort of picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.miniature.canvas import MAX_SIDE_PX, MIN_SIDE_PX
from model.miniature.roles import role_of
from model.miniature.sorts import SORTS
from model.miniature.subject import SubjectError

seeds = st.integers(0, 2**32)
each_sort = pytest.mark.parametrize("name", SORTS)


@each_sort
@given(seeds)
def test_a_subject_survives_its_json(name: str, seed: int) -> None:
    sort = SORTS[name]
    subject = sort.sample(np.random.default_rng(seed))
    again = sort.subject.from_json(subject.to_json())
    assert again == subject
    assert again.subject_id == subject.subject_id
    assert type(subject) is sort.subject


@each_sort
@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"background":"white"}', "[" * 40])
def test_what_is_no_subject_is_refused(name: str, text: str) -> None:
    with pytest.raises(SubjectError):
        SORTS[name].subject.from_json(text)


@each_sort
@given(seeds, st.sampled_from([64, 96, 150]))
def test_same_subject_side_and_seed_same_picture(name: str, seed: int, side: int) -> None:
    sort = SORTS[name]
    subject = sort.sample(np.random.default_rng(seed))
    one, again, other = (sort.picture(subject, side, number) for number in (1, 1, 2))
    assert (one.mode, one.size) == ("RGB", (side, side))
    assert one.tobytes() == again.tobytes()
    assert one.tobytes() != other.tobytes()


@each_sort
def test_the_same_picture_at_every_side(name: str) -> None:
    sort = SORTS[name]
    subject = sort.sample(np.random.default_rng(3))
    small = sort.picture(subject, 256, 0)
    large = sort.picture(subject, MAX_SIDE_PX, 0).resize(small.size)
    apart = np.abs(np.asarray(small, int) - np.asarray(large, int)).max(axis=2)
    assert (apart > 64).mean() < 0.03
    for side in (MIN_SIDE_PX - 1, MAX_SIDE_PX + 1):
        with pytest.raises(ValueError, match="64 to 2048"):
            sort.picture(subject, side, 0)


@each_sort
def test_no_wording_means_two_subjects_and_every_prompt_has_a_role(name: str) -> None:
    sort, rng = SORTS[name], np.random.default_rng(11)
    meant: dict[str, str] = {}
    for _ in range(3000):
        subject = sort.sample(rng)
        said = sort.wording(subject, rng)
        assert meant.setdefault(said.casefold(), subject.subject_id) == subject.subject_id, said
        assert said == said.strip()
        assert "  " not in said
    assert {role_of(subject_id, said) for said, subject_id in meant.items()} >= {"train", "gate"}


def test_subjects_of_different_sorts_never_share_an_id() -> None:
    rng = np.random.default_rng(12)
    ids = [(name, sort.sample(rng).subject_id) for name, sort in SORTS.items() for _ in range(200)]
    assert len({subject_id for _, subject_id in ids}) == len(set(ids))
