"""Who is compared with whom: everybody under a key, a few in a crowd, and the same in whatever order images come and go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicate_candidates import CROWDING, Crowding, candidate_sql, roles_sql

Pair = tuple[str, str]
SMALL = Crowding(cap=4, pivots=2)


@dataclass(frozen=True)
class Stored:
    """What `candidate_sql` reads of one image. Equal `picture` and keys: equal to the last byte."""

    image_id: str
    keys: tuple[int, ...]
    picture: int = 0
    width_px: int = 100
    height_px: int = 100
    bytes: int = 1


def asked(sql: str, images: Iterable[Stored], due: Iterable[str] = ()) -> list[tuple[str, ...]]:
    with duckdb.connect() as connection:
        connection.execute(
            "create table stored(image_id varchar, phash bigint, keys bigint[], width_px int, height_px int, bytes bigint,"
            " thumb blob, fine blob, text varchar)"
        )
        connection.execute("create table due(image_id varchar)")
        for one in images:
            pixels = bytes([one.picture])
            row = [one.image_id, 0, list(one.keys), one.width_px, one.height_px, one.bytes, pixels, None, None]
            connection.execute("insert into stored values (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        for image_id in due:
            connection.execute("insert into due values (?)", [image_id])
        return connection.execute(sql).fetchall()


def candidates(images: Sequence[Stored], due: Iterable[str] | None = None, crowding: Crowding = SMALL) -> set[Pair]:
    wanted = [one.image_id for one in images] if due is None else due
    found = asked(candidate_sql("stored", "due", crowding), images, wanted)
    assert len(set(found)) == len(found)
    return {(a, b) for a, b in found}


def roles(images: Sequence[Stored], crowding: Crowding = SMALL) -> dict[str, str]:
    return {image_id: role for image_id, role, _ in asked(roles_sql("stored", crowding), images)}


def test_images_under_one_key_are_compared_unless_their_shapes_differ() -> None:
    images = [
        Stored("a", (1, 2)),
        Stored("b", (2, 3), picture=1, width_px=105),
        Stored("c", (2,), picture=2, height_px=200),
        Stored("d", (9,)),
    ]
    assert candidates(images) == {("a", "b")}
    assert candidates(images, due=["c", "d"]) == set()
    assert candidates(images, due=["b"]) == {("a", "b")}
    assert roles(images) == {}


def test_in_a_hot_bucket_everybody_meets_the_pivots_alone() -> None:
    """The pivots are the largest pictures: representatives are chosen in the same order."""
    crowd = [Stored(f"{n}", (7,), picture=n, width_px=100 + n % 3, bytes=n) for n in range(9)]
    assert candidates(crowd) == {tuple(sorted((pivot, f"{n}"))) for pivot in "58" for n in range(9) if pivot != f"{n}"}
    assert set(roles(crowd)) == set("0123467")
    assert asked(roles_sql("stored", SMALL), crowd)[0][2] == 1
    assert len(candidates(crowd, crowding=Crowding(cap=9, pivots=2))) == 36


def test_a_hot_bucket_leaves_other_keys_alone() -> None:
    crowd = [Stored(f"{n}", (7,), picture=n, bytes=9 - n) for n in range(6)]
    crowd[4:] = [replace(one, keys=(7, 8)) for one in crowd[4:]]
    assert ("4", "5") in candidates(crowd)


def test_a_crowd_of_equal_pictures_is_compared_with_its_first_alone_and_leaves_room_for_other_pivots() -> None:
    equal = [Stored(f"{n:03}", (7, 8), bytes=5) for n in range(300)]
    others = [Stored(f"other{n}", (7,), picture=n + 1) for n in range(3)]
    found = candidates([*equal, *others], crowding=Crowding(cap=200, pivots=2))
    assert {pair for pair in found if "other" not in "".join(pair)} == {("000", f"{n:03}") for n in range(1, 300)}
    assert ("other0", "other2") in found
    assert ("other1", "other2") not in found
    assert len(found) < 2 * 303


def test_equal_pictures_are_compared_though_none_of_them_is_a_pivot() -> None:
    large = [Stored(f"large{n}", (7,), picture=9 + n, width_px=110) for n in range(2)]
    equal = [Stored(f"{n}", (7,), bytes=9 - n) for n in range(4)]
    found = candidates([*large, *equal])
    assert {("0", "1"), ("0", "2"), ("0", "3")} <= found
    assert ("1", "2") not in found


def test_a_role_changes_with_the_crowds_one_is_capped_in_and_with_the_twin_one_follows() -> None:
    crowd = [Stored(f"{n}", (7, 8) if n > 6 else (7,), picture=n, bytes=20 - n) for n in range(9)]
    more = [Stored(f"more{n}", (8,), picture=20 + n, bytes=30) for n in range(3)]
    assert roles(crowd)["8"] != roles([*crowd, *more])["8"]
    assert roles(crowd)["5"] == roles([*crowd, *more])["5"]
    equal = [Stored(f"{n}", (7,), bytes=9 - n) for n in range(6)]
    heavier = Stored("heavier", (7,), bytes=10)
    assert roles(equal)["5"] == roles([*equal[:5], replace(equal[5], bytes=2)])["5"]
    assert roles(equal)["5"] != roles([*equal, heavier])["5"]


def test_equal_pictures_in_small_buckets_are_all_compared() -> None:
    """So that any of them can go without taking the proof between two others with it."""
    assert len(candidates([Stored(f"{n}", (7,)) for n in range(4)])) == 6


IMAGES = st.lists(
    st.builds(
        Stored,
        image_id=st.just(""),
        keys=st.sampled_from([(1,), (2,), (1, 2), (1, 3)]),
        picture=st.integers(0, 3),
        width_px=st.sampled_from([100, 110, 220]),
        bytes=st.integers(1, 3),
    ),
    min_size=3,
    max_size=16,
)
EVENTS = st.lists(st.tuples(st.integers(0, 15), st.booleans()), max_size=24)


@settings(max_examples=15, deadline=None)
@given(drawn=IMAGES, events=EVENTS, every=st.integers(6, 14))
def test_what_was_compared_follows_from_the_images_at_hand_not_from_how_they_came(
    drawn: list[Stored], events: list[tuple[int, bool]], every: int
) -> None:
    """Images come and go; whose role changed is compared again. At the end it is as if all had come at once."""
    images = {f"{n:02}": replace(one, image_id=f"{n:02}") for n, one in enumerate(drawn)}
    compared: dict[str, str] = {}
    edges: set[Pair] = set()
    here: set[str] = set()
    for at, (number, comes) in enumerate([*events, *((n, True) for n in range(len(images)))]):
        here = here | ({f"{number:02}"} & set(images)) if comes else here - {f"{number:02}"}
        if at % every and at + 1 < len(events) + len(images):
            continue
        stored = [images[name] for name in sorted(here)]
        edges, compared = _compare_again(stored, edges, compared)
    assert edges == candidates([images[name] for name in sorted(here)])


def _compare_again(
    stored: Sequence[Stored], edges: set[Pair], compared: Mapping[str, str]
) -> tuple[set[Pair], dict[str, str]]:
    """One run of the step where every candidate is proven: who is due loses its edges and is compared anew."""
    present = {one.image_id for one in stored}
    now = dict.fromkeys(present, "all") | roles(stored)
    due = {name for name in present if compared.get(name) != now[name]}
    kept = {pair for pair in edges if set(pair) <= present and not set(pair) & due}
    return kept | candidates(stored, due), now


def test_cost_of_a_crowd_is_linear() -> None:
    crowd = [Stored(f"{n:04}", (7,), picture=n % 200, bytes=n) for n in range(600)]
    found = candidates(crowd, crowding=CROWDING)
    assert len(found) <= CROWDING.pivots * len(crowd) + len(crowd)
    assert {name for pair in found for name in pair} == {one.image_id for one in crowd}
    assert len(found) < len(list(combinations(range(600), 2))) / 4
