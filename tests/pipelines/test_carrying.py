"""What a worker holds at once is bounded by bytes; packs depend on the micro-batch alone."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flywheel.records import Failure, ImageFacts, Locator, Reason, SourceItem
from flywheel.seeds import content_id
from flywheel.workspace.packs import members
from flywheel.workspace.places import file_uri
from flywheel.workspace.storage import Store, describe
from pipelines import carrying
from pipelines.carrying import Carriage, carried, expected_bytes
from pipelines.decoding import Seen
from pipelines.sources.fetch import Fetched, FetchLimits


class Reader:
    """Stands for the child: names the bytes, gives back what it was not given, notes what was held at a time."""

    def __init__(self) -> None:
        self.held: list[int] = []

    def run(self, items: Sequence[SourceItem]) -> Iterator[Seen]:
        self.held.append(sum(expected_bytes(item) for item in items))
        for item in items:
            data = item.inline or Path(item.locator.uri.removeprefix("file://")).read_bytes()
            yield Seen(facts=_facts(data), locator=item.locator, scores={}, data=None if item.inline else data)


def _facts(data: bytes) -> ImageFacts:
    sides = {"width_px": 1, "height_px": 1, "exif_orientation": 1}
    return ImageFacts(image_id=content_id(data), format="PNG", mode="RGB", bytes=len(data), **sides)


def files(folder: Path, *sizes: int) -> list[SourceItem]:
    items = []
    for number, size in enumerate(sizes):
        path = folder / str(number)
        path.write_bytes(bytes([number]) * size)
        uri = file_uri(str(path))
        items.append(SourceItem(uri=uri, fingerprint=describe(uri).fingerprint, locator=Locator(uri=uri), dataset="d"))
    return items


def links(count: int) -> list[SourceItem]:
    urls = [f"http://x/{number}" for number in range(count)]
    return [SourceItem(uri=url, fingerprint="", locator=Locator(uri=url), dataset="d", copy=True) for url in urls]


def carriage(folder: Path, copy_all: bool = True) -> Carriage:
    return Carriage(fetch=FetchLimits(max_bytes=1_000), workspace_uri=file_uri(str(folder)), copy_all=copy_all)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "PIECE_BYTES", 1_000)
    monkeypatch.setattr(carrying, "SIDE_BY_SIDE_BYTES", 300)


@pytest.mark.usefixtures("small_pieces")
def test_copies_are_packed_in_pieces_and_the_same_again(tmp_path: Path) -> None:
    items, reader = files(tmp_path, 400, 600, 1, 900, 1_500, 10), Reader()
    answers = carried(items, reader, carriage(tmp_path / "ws"))  # type: ignore[arg-type]
    assert reader.held == [1_000, 901, 1_500, 10]
    held = [pack.uri for pack in Store(str(tmp_path / "ws")).list("packs")]
    assert len(held) == 4
    for item, answer in zip(items, answers, strict=True):
        assert isinstance(answer, Seen)
        assert answer.data is None
        assert members(answer.locator.uri)[content_id(Path(item.uri[7:]).read_bytes())] == answer.locator
    assert carried(items, Reader(), carriage(tmp_path / "ws")) == answers  # type: ignore[arg-type]
    assert [pack.uri for pack in Store(str(tmp_path / "ws")).list("packs")] == held


@pytest.mark.usefixtures("small_pieces")
def test_what_stays_where_it_is_needs_no_pieces(tmp_path: Path) -> None:
    items, reader = files(tmp_path, 900, 900, 900), Reader()
    answers = carried(items, reader, carriage(tmp_path / "ws", copy_all=False))  # type: ignore[arg-type]
    assert len(reader.held) == 1
    assert [answer.locator for answer in answers if isinstance(answer, Seen)] == [item.locator for item in items]
    assert not (tmp_path / "ws").exists()


@pytest.mark.usefixtures("small_pieces")
def test_large_bodies_are_fetched_alone_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [100, 800, 300, 5_000, 700, 100]
    alone = []

    def answer(url: str, limits: FetchLimits) -> Fetched | Failure:
        size = sizes[int(url[-1])]
        if size > limits.max_bytes:
            return Failure(Reason.TOO_MANY_BYTES, "")
        return Fetched(data=bytes([int(url[-1])]) * size, final_url=url, etag=None, content_type=None)

    def fetch(url: str, limits: FetchLimits) -> Fetched | Failure:
        alone.append(sizes[int(url[-1])])
        return answer(url, limits)

    monkeypatch.setattr(carrying, "fetch_many", lambda urls, limits: (answer(url, limits) for url in urls))
    monkeypatch.setattr(carrying, "fetch", fetch)
    reader = Reader()
    answers = carried(links(6), reader, carriage(tmp_path / "ws"))  # type: ignore[arg-type]
    assert alone == [800, 5_000, 700]
    assert max(reader.held) <= 1_000
    assert [isinstance(found, Seen) and found.facts.bytes for found in answers] == [100, 800, 300, False, 700, 100]


_HOLDS = """
    import sys, threading
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from pathlib import Path
    from flywheel.images.sandbox import Sandbox
    from flywheel.records import Budgets, Locator, SourceItem
    from flywheel.workspace.places import file_uri
    from flywheel.workspace.storage import describe
    from pipelines.carrying import Carriage, carried
    from pipelines.decoding import IngestContext
    from pipelines.sources.fetch import FetchLimits

    def high_water():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) >> 10

    folder, kind = Path(sys.argv[1]), sys.argv[2]
    if kind == "urls":
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder))
        server.RequestHandlerClass.log_message = lambda *_: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        places = [(f"http://127.0.0.1:{server.server_port}/{file.name}", "") for file in sorted(folder.iterdir())]
    else:
        places = [(uri, describe(uri).fingerprint) for uri in (file_uri(str(f)) for f in sorted(folder.iterdir()))]
    items = [
        SourceItem(uri=uri, fingerprint=mark, locator=Locator(uri=uri), dataset="d", copy=True) for uri, mark in places
    ]
    context = IngestContext(budgets=Budgets(), copy_all=True, scorers=(), forgotten=frozenset())
    limits = FetchLimits(allow_hosts=("127.0.0.1",))
    before = high_water()
    with Sandbox("pipelines.decoding:ingest_item", memory_bytes=1400 << 20, item_s=60, context=context) as box:
        answers = carried(items, box, Carriage(fetch=limits, workspace_uri=file_uri(sys.argv[3]), copy_all=True))
    assert all(answer.locator.uri.endswith(".tar") for answer in answers), answers
    print(high_water() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["files", "urls"])
def test_a_worker_stays_small_over_large_images(kind: str, tmp_path: Path) -> None:
    """Sixteen BMP of 40 MB, 640 MB in all; the child that decodes them is another process, measured elsewhere."""
    from PIL import Image

    folder = tmp_path / "large"
    folder.mkdir()
    for number in range(16):
        Image.new("RGB", (3_700, 3_700), (number, 9, 9)).save(folder / f"{number}.bmp")
    command = [sys.executable, "-c", textwrap.dedent(_HOLDS), str(folder), kind, str(tmp_path / "ws")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 256  # MB; with a bare process of 130 MB or less, under the 400 MB of a worker
