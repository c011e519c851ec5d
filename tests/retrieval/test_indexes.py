"""The LanceDB indexes: exact search is numpy's, the inverted file is judged by recall, keys stay unique, words are words."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from retrieval.fusion import recall
from retrieval.texts import TextIndex, digest
from retrieval.vectors import VectorIndex

DIMS = 16


def clustered(number: int, seed: int = 0, dims: int = DIMS) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(20, dims))
    vectors = (middles[rng.integers(20, size=number)] + 0.4 * rng.normal(size=(number, dims))).astype(np.float32)
    return [f"{at:05}" for at in range(number)], vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def brute(ids: list[str], vectors: np.ndarray, query: np.ndarray, k: int) -> list[str]:
    order = sorted(range(len(ids)), key=lambda at: (-float(vectors[at] @ query), ids[at]))
    return [ids[at] for at in order[:k]]


@pytest.fixture
def filled(tmp_path: Path) -> tuple[VectorIndex, list[str], np.ndarray]:
    ids, vectors = clustered(400)
    index = VectorIndex(str(tmp_path), "m/1 odd", DIMS)
    index.put(ids, vectors)
    index.finish()
    return index, ids, vectors


def test_exact_search_is_brute_force(filled: tuple[VectorIndex, list[str], np.ndarray]) -> None:
    index, ids, vectors = filled
    for query in vectors[::40]:
        found = index.nearest(query, 10)
        assert [one for one, _ in found] == brute(ids, vectors, query, 10)
        np.testing.assert_allclose([cosine for _, cosine in found], sorted(vectors @ query)[::-1][:10], atol=1e-5)


def test_only_the_named_are_searched(filled: tuple[VectorIndex, list[str], np.ndarray]) -> None:
    index, ids, vectors = filled
    only = ids[::7]
    places = [ids.index(one) for one in only]
    assert [one for one, _ in index.nearest(vectors[3], 5, only)] == brute(only, vectors[places], vectors[3], 5)
    assert index.nearest(vectors[3], 5, []) == []
    assert len(index.nearest(vectors[3], 5, only[:2])) == 2


def test_a_large_choice_is_searched_deeper(
    filled: tuple[VectorIndex, list[str], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.vectors.MOST_NAMED", 10)
    index, ids, vectors = filled
    only = ids[::3]
    places = [ids.index(one) for one in only]
    assert [one for one, _ in index.nearest(vectors[5], 30, only)] == brute(only, vectors[places], vectors[5], 30)


def test_what_is_put_again_is_replaced_and_what_is_deleted_is_gone(
    filled: tuple[VectorIndex, list[str], np.ndarray], tmp_path: Path
) -> None:
    index, ids, vectors = filled
    index.put(ids[:50], -vectors[:50])
    index.delete(ids[50:60])
    again = VectorIndex(str(tmp_path), "m/1 odd", DIMS)
    assert again.ids() == frozenset(ids[:50] + ids[60:])
    np.testing.assert_allclose(
        again.vectors([ids[7], ids[70], ids[7]]), [-vectors[7], vectors[70], -vectors[7]], atol=1e-6
    )
    with pytest.raises(KeyError):
        again.vectors([ids[55]])


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    index = VectorIndex(str(tmp_path), "m", DIMS)
    assert index.ids() == frozenset()
    assert index.nearest(np.ones(DIMS, np.float32), 5) == []
    index.finish()
    assert TextIndex(str(tmp_path)).find("star", 5) == []


def test_the_inverted_file_finds_nearly_all(tmp_path: Path) -> None:
    ids, vectors = clustered(6000, dims=32)
    index = VectorIndex(str(tmp_path), "m", 32, flat_below=5000)
    index.put(ids, vectors)
    index.finish()
    queries = vectors[::200]
    found = [[one for one, _ in index.nearest(query, 10)] for query in queries]
    assert recall(found, [brute(ids, vectors, query, 10) for query in queries]) >= 0.99
    exact = [[one for one, _ in index.nearest(query, 10, exact=True)] for query in queries[:5]]
    assert exact == [brute(ids, vectors, query, 10) for query in queries[:5]]
    index.put(ids[:100], vectors[:100])  # an upsert takes rows out of the index; they must still be found
    assert index.nearest(vectors[5], 1)[0][0] == ids[5]


def _put_together(location: str, barrier: object) -> None:
    ids, vectors = clustered(60)
    index = VectorIndex(location, "m", DIMS)
    barrier.wait()  # type: ignore[attr-defined]
    for start in range(0, 60, 15):
        index.put(ids[start : start + 15], vectors[start : start + 15])


@pytest.mark.slow
def test_writers_of_the_same_keys_leave_each_once(tmp_path: Path) -> None:
    ids, vectors = clustered(60)
    VectorIndex(str(tmp_path), "m", DIMS).put(ids[:1], vectors[:1])
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    workers = [context.Process(target=_put_together, args=(str(tmp_path), barrier)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    index = VectorIndex(str(tmp_path), "m", DIMS)
    assert index._table.rows() == 60
    assert index.ids() == frozenset(ids)


TEXTS = {
    "a": "A big red star in the top left, on white.",
    "b": "A small blue ring; not a star.",
    "c": 'The Chinese word "山水" in red. Café <b>"quoted"</b> AND (title:x) OR *',
    "d": "Die Häuser am See",
}


@pytest.fixture
def library(tmp_path: Path) -> TextIndex:
    index = TextIndex(str(tmp_path))
    index.put(list(TEXTS), list(TEXTS.values()))
    index.finish()
    return index


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("red star", ["a"]),
        ("ring", ["b"]),
        ("not", ["b"]),
        ("cafe", ["c"]),
        ("haus", []),
        ("HÄUSER", ["d"]),
        ('AND "OR" (title:', ["c"]),
        ("'; DROP TABLE texts; --", []),
        ("\x1b[31m*", []),
        ("", []),
    ],
)
def test_words_are_words_and_no_query_language(library: TextIndex, words: str, found: list[str]) -> None:
    assert [one for one, _ in library.find(words, 1)] == found


def test_texts_that_change_are_seen_to_change_and_only_the_named_are_found(library: TextIndex, tmp_path: Path) -> None:
    assert library.digests() == {one: digest(text) for one, text in TEXTS.items()}
    library.put(["a"], ["a green heart"])
    library.delete(["b"])
    library.finish()
    again = TextIndex(str(tmp_path))
    assert [one for one, _ in again.find("heart", 5)] == ["a"]
    assert again.find("star", 5) == []
    assert again.find("the word", 5, only=["d"]) == []
    assert set(again.digests()) == {"a", "c", "d"}
