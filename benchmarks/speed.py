"""How many images a second of processor time the passes take, from bytes on disk to scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

import cv2
from PIL import Image

from benchmarks import inputs, meter
from benchmarks.figures import Figure, Findings
from filters.scorers import SCORERS
from flywheel.images.sandbox import Sandbox
from flywheel.records import Budgets, Failure, Locator, SourceItem
from flywheel.seeds import content_id
from flywheel.workspace.places import file_uri
from pipelines.decoding import IngestContext, MeasureContext, MeasureItem, ingest_item, native_item, ocr_item

IMAGES = 600
OCR_IMAGES = 8
REPEATS = 3
SCALED_TARGET, NATIVE_TARGET = 200.0, 80.0

_BUDGETS = Budgets()
INGEST = IngestContext(
    budgets=_BUDGETS,
    copy_all=False,
    scorers=tuple(name for name, scorer in SCORERS.items() if scorer.reads == "scaled"),
    forgotten=frozenset(),
)
MEASURE = MeasureContext(budgets=_BUDGETS)


def run(place: Path) -> Findings:
    """Generated images first; real photographs beside them where they lie beside the checkout."""
    cv2.setNumThreads(1)
    paths = inputs.photos(place / "photos", IMAGES)
    figures = _passes("generated", paths, held=True)
    figures += _command("generated", place, place / "photos", IMAGES)
    figures.append(_ocr("generated", paths[:: IMAGES // OCR_IMAGES]))
    heavy = inputs.photos(place / "heavy", IMAGES // 2, inputs.HEAVY)
    figures += _passes("generated, heavier files", heavy, held=False)
    if inputs.REAL.is_dir():
        real = sorted(path for path in inputs.REAL.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
        figures += _passes("real JPEGs", real, held=False)
        figures.append(_ocr("real JPEGs", real[:: max(1, len(real) // OCR_IMAGES)]))
    how = (
        f"{IMAGES} generated JPEGs of 1.2 megapixels, quality 70 to 85 ({IMAGES // inputs.PER_SCENE} scenes, each as drawn, mirrored and "
        "turned), and half as many of quality 80 to 95, which are half as heavy again. "
        f"Images per processor second (user + system, children included), median of {REPEATS}. The bare decode is Pillow alone "
        "(open, sha256, decode at an eighth, no score): what no program on this decoder can pass."
    )
    return Findings(title="Speed of the passes", how=how, figures=figures)


def items(paths: Sequence[Path]) -> list[SourceItem]:
    """Files as ingest lists them."""
    uris = [file_uri(str(path)) for path in paths]
    return [SourceItem(uri=uri, fingerprint="", locator=Locator(uri=uri), dataset="bench") for uri in uris]


def measured_items(paths: Sequence[Path], reads: str) -> list[MeasureItem]:
    """Files as the native and OCR passes get them: by image_id, with the scorers they lack."""
    names = tuple(name for name, scorer in SCORERS.items() if scorer.reads == reads)
    return [
        MeasureItem(
            image_id=content_id(path.read_bytes()), locator=Locator(uri=file_uri(str(path))), scorers=names, attempt=1
        )
        for path in paths
    ]


def _rate(count: int, repeats: int, function: Callable[[], object]) -> float:
    return count / meter.seconds(repeats, function)[0]


def _each(function: Callable[..., object], todo: Sequence[object], context: object) -> None:
    failed = sum(isinstance(function(item, context), Failure) for item in todo)
    if failed:
        raise AssertionError(f"{failed} of {len(todo)} images of the benchmark failed")


def _sandboxed(task: str, todo: Sequence[object], context: object) -> None:
    with Sandbox[object, object](task, memory_bytes=_BUDGETS.child_memory_bytes, item_s=60.0, context=context) as box:
        failed = sum(isinstance(answer, Failure) for answer in box.run(todo))
    if failed:
        raise AssertionError(f"{failed} of {len(todo)} images of the benchmark failed")


def _bare(paths: Sequence[Path]) -> None:
    for path in paths:
        data = path.read_bytes()
        hashlib.sha256(data).digest()
        image = Image.open(BytesIO(data))
        image.draft("RGB", (64, 64))
        image.load()


def _passes(kind: str, paths: list[Path], held: bool) -> list[Figure]:
    size = sum(map(inputs.megapixels, paths)) / len(paths)
    weight = sum(path.stat().st_size for path in paths) / len(paths) / 1000
    sightings, native = items(paths), measured_items(paths, "native")
    _each(ingest_item, sightings[:8], INGEST)  # imports are start-up, not pass
    in_process = partial(_each, ingest_item, sightings, INGEST)
    boxed = partial(_sandboxed, "pipelines.decoding:ingest_item", sightings, INGEST)
    natively = partial(_each, native_item, native, MEASURE)
    natively_boxed = partial(_sandboxed, "pipelines.decoding:native_item", native, MEASURE)
    note = f"{len(paths)} files of {size:.2f} megapixels and {weight:.0f} kB"
    rows: list[tuple[str, Callable[[], object], float | None]] = [
        ("header + sha256 + scaled pass, in process", in_process, SCALED_TARGET),
        ("the same through the sandbox, its start included", boxed, SCALED_TARGET),
        ("bare decode, no score", partial(_bare, paths), None),
        ("native pass, in process", natively, NATIVE_TARGET),
        ("native pass through the sandbox, its start included", natively_boxed, NATIVE_TARGET),
    ]
    return [
        Figure(
            name=f"{kind}: {name}",
            measured=_rate(len(paths), REPEATS, function),
            unit="images/CPU-s",
            target=target if held else None,
            note=note,
        )
        for name, function, target in rows
    ]


def _ocr(kind: str, paths: Sequence[Path]) -> Figure:
    todo = measured_items(paths, "ocr")
    _each(ocr_item, todo[:1], MEASURE)
    rate = _rate(len(paths), REPEATS, partial(_each, ocr_item, todo, MEASURE))
    return Figure(
        name=f"{kind}: OCR pass, in process", measured=rate, unit="images/CPU-s", note=f"{len(paths)} files, warm"
    )


def _command(kind: str, place: Path, folder: Path, count: int) -> list[Figure]:
    few = place / "few"
    inputs.photos(few, 8)
    whole, start = (_ingest(place, source) for source in (folder, few))
    return [
        Figure(
            name=f"{kind}: the whole command `flywheel ingest`, start-up included",
            measured=count / whole.cpu_s,
            unit="images/CPU-s",
            note=f"{whole.cpu_s:.1f} CPU-s, {whole.wall_s:.1f} s, peak {whole.peak_mb:.0f} MB in all processes",
        ),
        Figure(
            name=f"{kind}: `flywheel ingest`, each further image",
            measured=(count - 8) / (whole.cpu_s - start.cpu_s),
            unit="images/CPU-s",
            target=SCALED_TARGET,
            note=f"less the {start.cpu_s:.1f} CPU-s of a run over 8 images",
        ),
    ]


def _ingest(place: Path, source: Path) -> meter.Cost:
    def once() -> meter.Cost:
        workspace = place / f"ws-{source.name}-{len(list(place.iterdir()))}"
        meter.run(meter.flywheel("init", "-w", str(workspace), "--profile", "cpu"))
        return meter.run(meter.flywheel("ingest", str(source), "-w", str(workspace)))

    return meter.repeated(REPEATS, once)
