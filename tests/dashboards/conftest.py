"""A workspace filled by hand with hostile names, and a reader that is strict about HTML."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from dashboards.report import Page, build
from filters.policy import Policy, bundled
from filters.scorers import SCORERS
from flywheel.schemas import TABLES
from flywheel.seeds import content_id, source_id
from flywheel.workspace import Workspace
from flywheel.workspace.places import file_uri
from flywheel.workspace.storage import describe
from pipelines.judging import init_workspace, judging_views

HOSTILE_NAME = "<script>alert(1)<b onclick=x>\"'&.png"
HOSTILE_CAPTION = '</figcaption><script>alert("caption")</script><img src=http://example.org/x.png>'
MODELS = ("nsfw", "clip", "aesthetic", "watermark", "token_length")
VOID = {"meta", "img", "br", "line", "rect", "path", "link", "hr"}


@dataclass
class Shop:
    """A workspace, its policy, the folder of originals, and the ids in the order in which they were made."""

    workspace: Workspace
    policy: Policy
    originals: Path
    ids: list[str]
    hostile_name: str = HOSTILE_NAME
    hostile_caption: str = HOSTILE_CAPTION

    @property
    def views(self) -> dict[str, str]:
        return dict(judging_views(self.workspace, self.policy))

    def page(self) -> Page:
        return build(self.workspace, self.policy, self.views)

    def ask(self, sql: str) -> list[dict[str, Any]]:
        return list(self.workspace.query(sql, self.views).to_pylist())

    def add(self, table: str, rows: list[dict[str, Any]]) -> None:
        schema = TABLES[table].schema if table in TABLES else SCORERS[table.removeprefix("score_")].table.schema
        full = [dict.fromkeys(schema.names) | row for row in rows]
        self.workspace.tables.append(table, pa.Table.from_pylist(full, schema=schema), run_id="hand")


def _picture(path: Path, seed: int) -> str:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((240 + seed, 180), Image.Resampling.BICUBIC).save(path, "PNG")
    return content_id(path.read_bytes())


def _fill(shop: Shop, images: int) -> None:
    names = [HOSTILE_NAME, *(f"plain {number}.png" for number in range(1, images))]
    sources, rows, outcomes, tones, signs = [], [], [], [], []
    for number, name in enumerate(names):
        path = shop.originals / name
        image_id, uri = _picture(path, number), file_uri(str(path))
        stamp = describe(uri).fingerprint
        sighting = source_id(uri, stamp)
        shop.ids.append(image_id)
        caption = HOSTILE_CAPTION if number < 2 else None
        sources.append(
            {
                "source_id": sighting,
                "uri": uri,
                "fingerprint": stamp,
                "dataset": "<i>set</i>",
                "image_id": image_id,
                "caption": caption,
            }
        )
        facts = {
            "image_id": image_id,
            "format": "PNG",
            "mode": "RGB",
            "bytes": path.stat().st_size,
            "source_id": sighting,
        }
        rows.append(facts | {"width_px": 240 + number, "height_px": 180, "exif_orientation": 1, "uri": uri})
        outcomes.append({"step": "ingest", "subject_id": sighting, "config_hash": "c", "attempt": 1, "status": "ok"})
        tone = {"entropy_bits": 0.1 if number % 4 == 0 else 6.5, "luma_mean": 0.5, "flat_share": number / images / 2}
        tones.append({"image_id": image_id, "version": SCORERS["tone"].version, **tone})
        signs.append(
            {"image_id": image_id, "version": SCORERS["orientation"].version, "sideways": None if number % 2 else 0.2}
        )
    for table, found in (("sources", sources), ("images", rows), ("score_tone", tones), ("score_orientation", signs)):
        shop.add(table, found)
    shop.add("outcomes", outcomes)
    _refuse(shop)
    _relate(shop, images)


def _relate(shop: Shop, images: int) -> None:
    """Half of them have a domain, and two of them show the same picture."""
    shop.add("score_phash", [{"image_id": i, "version": SCORERS["phash"].version, "phash": 1} for i in shop.ids])
    shop.add(
        "score_domain",
        [{"image_id": i, "version": SCORERS["domain"].version, "domain": "photo"} for i in shop.ids[: images // 2]],
    )
    group = [{"image_id": shop.ids[2], "representative_id": shop.ids[1], "distance": 4, "proof": "thumbnail"}]
    shop.add("duplicate_groups", [*group, {"image_id": shop.ids[1], "representative_id": shop.ids[1], "distance": 0}])


def _refuse(shop: Shop) -> None:
    refused = "file:///elsewhere/%3Cscript%3E%E2%80%AEevil.jpg"
    shop.add("sources", [{"source_id": "r", "uri": refused, "fingerprint": "1-1", "dataset": "<i>set</i>"}])
    why = {"status": "rejected", "reason": "truncated", "detail": "<b>cut</b>"}
    shop.add("outcomes", [{"step": "ingest", "subject_id": "r", "config_hash": "c", "attempt": 1, **why}])


def _opened(folder: Path) -> Shop:
    originals = folder / "originals"
    originals.mkdir()
    made = Shop(init_workspace(str(folder / "ws"), "miniature"), bundled("miniature").without(*MODELS), originals, [])
    _fill(made, 12)
    return made


@pytest.fixture
def new_shop(tmp_path: Path) -> Shop:
    """Over originals of its own, for tests that change those."""
    return _opened(tmp_path)


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """For tests that only look."""
    return _opened(tmp_path_factory.mktemp("seen"))


@pytest.fixture(scope="session")
def html(seen: Shop) -> str:
    return seen.page().html


@pytest.fixture
def shop(seen: Shop, tmp_path: Path) -> Shop:
    """A copy of the workspace, over the same originals, for tests that change it."""
    shutil.copytree(seen.workspace.path, tmp_path / "ws")
    return Shop(Workspace.open(str(tmp_path / "ws")), seen.policy, seen.originals, list(seen.ids))


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""


class Reader(HTMLParser):
    """Every element with its attributes and own text; fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        assert not self._open, f"left open: {self._open[-1].tag}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID or tag in ("line", "rect", "path"):
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1].text += data

    def having(self, attribute: str, value: str | None = None) -> list[Element]:
        return [e for e in self.elements if attribute in e.attributes and value in (None, e.attributes[attribute])]


@pytest.fixture(scope="session")
def read() -> type[Reader]:
    return Reader
