"""Search among many vectors: how fast and how much of what exact search finds."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.figures import Figure, Findings
from retrieval.vectors import VectorIndex

DIMS, QUERIES, K = 512, 300, 10
SIZES = (100_000, 1_000_000)
P50_MS, RECALL = 10.0, 0.99
_AT_ONCE = 50_000
_CLUSTERS, _SPREAD = 2_000, 0.6  # images come in subjects; uniform vectors would have no neighbours to find
_BYTES_A_ROW = 12 * DIMS  # generated, stored, and sorted into partitions


def run(place: Path) -> Findings:
    """Vectors in clusters, generated; queries are vectors beside stored ones."""
    figures: list[Figure] = []
    for size in SIZES:
        if psutil.virtual_memory().available < size * _BYTES_A_ROW:
            figures.append(Figure(name=f"{size:,} x {DIMS}: p50", measured=None, unit="ms", note="does not fit here"))
            continue
        figures += _of(place / str(size), size)
    how = (
        f"{QUERIES} queries of k = {K} one after the other through `VectorIndex.nearest` (IVF_SQ, refined), in a warm process. "
        "Recall against a scan of all vectors in float32. The peer is that scan with numpy, queries one by one."
    )
    return Findings(title="Search", how=how, figures=figures)


def _of(place: Path, size: int) -> list[Figure]:
    vectors = _vectors(size, np.random.default_rng(1))
    queries = _unit(vectors[:: size // QUERIES][:QUERIES] + 0.5 * _noise(QUERIES, np.random.default_rng(2)))
    index, began = VectorIndex(str(place), "bench", DIMS), time.monotonic()
    for start in range(0, size, _AT_ONCE):
        some = vectors[start : start + _AT_ONCE]
        index.put([f"{start + at:012}" for at in range(len(some))], some)
    index.finish()
    built_s = time.monotonic() - began
    index.nearest(queries[0], K)
    waits, found = [], []
    for query in queries:
        began = time.monotonic()
        found.append({int(name) for name, _ in index.nearest(query, K)})
        waits.append(1000 * (time.monotonic() - began))
    scans, right = [], 0
    for query, hits in zip(queries, found, strict=True):
        began = time.monotonic()
        cosines = vectors @ query
        nearest = np.argpartition(-cosines, K)[:K]
        scans.append(1000 * (time.monotonic() - began))
        right += len(hits & set(nearest.tolist()))
    name, p50 = f"{size:,} x {DIMS}", float(np.median(waits))
    held = size == SIZES[0]
    return [
        Figure(name=f"{name}: p50", measured=p50, unit="ms", target=P50_MS if held else None, below=True),
        Figure(name=f"{name}: p95", measured=float(np.quantile(waits, 0.95)), unit="ms"),
        Figure(name=f"{name}: recall@{K}", measured=right / (K * QUERIES), unit="", target=RECALL if held else None),
        Figure(name=f"{name}: a scan with numpy", measured=float(np.median(scans)), unit="ms", note="the peer, exact"),
        Figure(name=f"{name}: taken in and indexed", measured=size / built_s, unit="vectors/s"),
    ]


def _vectors(size: int, rng: np.random.Generator) -> np.ndarray:
    middles = _noise(_CLUSTERS, rng)
    parts = []
    for start in range(0, size, _AT_ONCE):
        number = min(_AT_ONCE, size - start)
        parts.append(_unit(middles[rng.integers(_CLUSTERS, size=number)] + _SPREAD * _noise(number, rng)))
    return np.concatenate(parts)


def _noise(number: int, rng: np.random.Generator) -> np.ndarray:
    """Vectors of about length one, in all directions."""
    return rng.standard_normal((number, DIMS), dtype=np.float32) / np.float32(DIMS**0.5)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
