"""Many voices of unequal worth become failures, each once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import UsageError
from flywheel.facets import Facet
from flywheel.signals.columns import Columns
from flywheel.signals.failing import failing, unreliable
from flywheel.signals.feedback import Feedback
from flywheel.signals.mapped import read


def thumb(picture: int, actor: str, good: bool) -> Feedback:
    return Feedback(source="app", prompt=f"prompt {picture}", generation=str(picture), actor=actor, score=float(good))


def crowd(lot: np.random.Generator, *, raters: int = 10, pictures: int = 120, flipped: float = 0.15) -> list[Feedback]:
    """Three in ten pictures are bad; everybody sees all of them, and is wrong now and then."""
    return [
        thumb(picture, f"rater {rater}", (picture % 10 >= 3) != (lot.random() < flipped))
        for picture in range(pictures)
        for rater in range(raters)
    ]


def bad_ones(found: list[Feedback]) -> set[int]:
    return {int(one.first.generation) for one in failing(found)}


def test_flipped_votes_are_outvoted() -> None:
    found = bad_ones(crowd(np.random.default_rng(0)))
    truth = {picture for picture in range(120) if picture % 10 < 3}
    assert len(found & truth) >= 0.9 * len(truth)
    assert len(found - truth) <= 2


def test_a_spammer_is_not_heard() -> None:
    """Three see each picture; the one who hates everything would decide wherever one of two others errs."""
    lot = np.random.default_rng(1)
    honest = crowd(lot, raters=2, pictures=400, flipped=0.15)
    spam = [thumb(picture, "spammer", False) for picture in range(400)]
    truth = {picture for picture in range(400) if picture % 10 < 3}
    assert unreliable({"none": []}) == frozenset()
    without, with_spam = bad_ones(honest) - truth, bad_ones([*honest, *spam]) - truth
    assert with_spam == without


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc"), st.booleans()), max_size=30))
def test_said_twice_is_said_once(said: list[tuple[int, str, bool]]) -> None:
    voices = [
        thumb(*one) for one in {(picture, actor): (picture, actor, good) for picture, actor, good in said}.values()
    ]
    assert [one.first.generation for one in failing(voices)] == [
        one.first.generation for one in failing([*voices, *voices])
    ]


def test_a_facet_fails_though_the_whole_is_liked() -> None:
    said = [
        Feedback(
            source="app", prompt="x", generation="1", actor=str(at), score=1.0, facets={Facet.WORDS: float(at == 0)}
        )
        for at in range(3)
    ]
    (one,) = failing(said)
    assert one.facets == (Facet.WORDS,)
    assert one.severity == pytest.approx(2 / 3)


def test_columns_by_their_usual_names_or_as_told() -> None:
    rows = [
        (
            "a:1",
            {
                "caption": "a cat",
                "rating": "👎",
                "issues": "words; counts",
                "user_id": "ann",
                "seed": "7",
                "model": "m",
            },
        ),
        ("a:2", {"caption": "a dog", "rating": "up", "issues": "", "user_id": "bob", "seed": "", "model": "m"}),
    ]
    cat, dog = read(rows, Columns(), "a.csv")
    assert (cat.score, cat.facets, cat.missing) == (0.0, {Facet.WORDS: 0.0, Facet.COUNTS: 0.0}, ())
    assert (dog.score, dog.missing, dog.actor) == (1.0, ("seed",), "bob")
    stars = [("b:1", {"q": "a cat", "stars": "2"})]
    (two,) = read(stars, Columns(named={"prompt": "q", "score": "stars"}, scale=(1, 5)), "b.csv")
    assert (two.prompt, two.score, two.missing) == ("a cat", 0.25, ("checkpoint", "seed"))


@pytest.mark.parametrize(
    ("row", "columns", "says"),
    [
        ({"rating": "up"}, Columns(), "neither a prompt nor a generation"),
        ({"prompt": "x"}, Columns(), "no score, facet or comment"),
        ({"prompt": "x", "rating": "7"}, Columns(scale=(1, 5)), "not on the scale 1:5"),
        ({"prompt": "x", "rating": "meh"}, Columns(), "neither good nor bad"),
        ({"prompt": "x", "issues": "taste"}, Columns(), "'taste' is none of the facets"),
        ({"prompt": "x", "rating": "up", "seed": "one"}, Columns(), "a seed is a whole number"),
        ({"prompt": "x"}, Columns(named={"score": "stars"}), "no column 'stars'; there are prompt"),
    ],
)
def test_a_row_that_says_nothing_is_refused_with_its_place(row: dict[str, str], columns: Columns, says: str) -> None:
    with pytest.raises(UsageError, match=r"^file:3: ") as refused:
        list(read([("file:3", row)], columns, "file"))
    assert says in str(refused.value)


def test_columns_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="colour: no such field; there are prompt"):
        list(read([("file:1", {"prompt": "x", "score": 1})], Columns(named={"colour": "c"}), "file"))
    with pytest.raises(UsageError, match="as 1:5"):
        Columns(scale=(3, 3))
