"""A small workspace with originals of every format, judged by views that the tests themselves give."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from flywheel.schemas import TABLES
from flywheel.seeds import content_id, source_id
from flywheel.workspace import Workspace
from pipelines.snapshot import freeze

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP")
SIDES = ((96, 96), (120, 80), (80, 120))
BUCKETS = ("1:1", "3:2", "2:3")


@dataclass(frozen=True)
class World:
    """A workspace, its originals by image_id, and the views that judge it."""

    workspace: Workspace
    originals: Mapping[str, bytes]
    paths: Mapping[str, Path]
    views: Mapping[str, str]
    frozen: dict[int, str] = field(default_factory=dict)

    def views_with(self, **verdicts: tuple[str, list[str]]) -> dict[str, str]:
        """The same views with other words on some images: {image_id: (verdict, unjudged_rules)}."""
        return judged(dict(verdicts))

    def freeze(self, stage: int = 4) -> str:
        if stage not in self.frozen:
            self.frozen[stage] = freeze(self.workspace, stage, views=self.views, policy_id="p" * 16).snapshot_id
        return self.frozen[stage]


def judged(words: Mapping[str, tuple[str, list[str]]]) -> dict[str, str]:
    """Views under which every image is kept at every stage, but for those in `words`."""
    lists = {image: "[" + ", ".join(f"'{rule}'" for rule in rules) + "]" for image, (_, rules) in words.items()}
    verdict = "".join(f" WHEN '{image}' THEN '{word}'" for image, (word, _) in words.items())
    rules = "".join(f" WHEN '{image}' THEN {listed}::VARCHAR[]" for image, listed in lists.items())
    case = "CASE image_id" if words else "CASE 0 WHEN 1 THEN NULL"
    return {
        "scores": "SELECT image_id, width_px / 1000.0::DOUBLE AS sharpness, NULL::DOUBLE AS quality, 'v1' AS version "
        "FROM images",
        "verdicts": f"""SELECT image_id, stage, {case}{verdict} ELSE 'kept' END AS verdict, 'photo' AS domain,
            CASE WHEN width_px = height_px THEN '1:1' WHEN width_px > height_px THEN '3:2' ELSE '2:3' END AS bucket,
            64 AS resolution_px, 0.0::DOUBLE AS crop_loss, {case}{rules} ELSE []::VARCHAR[] END AS unjudged_rules
            FROM (SELECT *, unnest([1, 2, 3, 4, 5, 6]) AS stage FROM images)""",
    }


def picture(index: int) -> bytes:
    width, height = SIDES[index % len(SIDES)]
    pixels = np.random.default_rng(index).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(stream, FORMATS[index % len(FORMATS)])
    return stream.getvalue()


def build(folder: Path, count: int = 21) -> World:
    """Every third image lies inside one tar; every second source has a caption."""
    workspace = Workspace.init(str(folder / "workspace"))
    workspace.store.write_new("flywheel.toml", b"[run]\ndisk_reserve_mb = 0\n")
    (folder / "originals").mkdir()
    images, sources, originals, paths = [], [], {}, {}
    tar_path = folder / "originals" / "some.tar"
    with tarfile.open(tar_path, "w") as tar:
        for index in range(count):
            data = picture(index)
            path = folder / "originals" / f"photo {index}.jpg"
            row = {"uri": path.as_uri(), "member": None, "offset": None, "length": None}
            if index % 3 == 2:
                member = tarfile.TarInfo(path.name)
                member.size = len(data)
                row = {"uri": tar_path.as_uri(), "member": path.name, "offset": tar.offset + 512, "length": len(data)}
                tar.addfile(member, io.BytesIO(data))
                path = tar_path
            else:
                path.write_bytes(data)
            image_id = content_id(data)
            originals[image_id], paths[image_id] = data, path
            images.append(_image(index, data) | row | {"source_id": source_id(f"photo {index}", "1")})
            sources.append(_source(index, image_id))
    for name, rows in (("images", images), ("sources", sources)):
        workspace.tables.append(name, pa.Table.from_pylist(rows, schema=TABLES[name].schema), run_id="test")
    return World(workspace, originals, paths, judged({}))


def _image(index: int, data: bytes) -> dict[str, object]:
    width, height = SIDES[index % len(SIDES)]
    return {
        "image_id": content_id(data),
        "format": FORMATS[index % len(FORMATS)],
        "mode": "RGB",
        "width_px": width,
        "height_px": height,
        "exif_orientation": 1,
        "bytes": len(data),
    }


def _source(index: int, image_id: str) -> dict[str, object]:
    return {
        "source_id": source_id(f"photo {index}", "1"),
        "uri": f"file:///elsewhere/photo%20{index}.jpg",
        "fingerprint": "1",
        "dataset": "holiday",
        "licence": "CC-BY-4.0" if index % 4 else None,
        "caption": f"caption “{index}”\nwith a second line" if index % 2 else None,
        "original_key": f"photo {index}.jpg",
        "origin": "test",
        "image_id": image_id,
    }


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Shared: tests may freeze and export, not touch originals."""
    return build(tmp_path_factory.mktemp("world"))


@pytest.fixture
def own_world(tmp_path: Path) -> World:
    """For tests that break something."""
    folder = tmp_path / "own"
    folder.mkdir()
    return build(folder, 9)
