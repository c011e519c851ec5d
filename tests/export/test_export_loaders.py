"""The libraries that exports are for read them: webdataset, Hugging Face datasets, LanceDB."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flywheel.seeds import content_id
from pipelines.export import export

SUFFIX = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "AVIF": "avif", "TIFF": "tiff", "GIF": "gif", "BMP": "bmp"}
SHARD_BYTES = 40_000


def quiet(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def exported(world, tmp_path_factory):
    """The shared world in one format, exported once."""
    folders: dict[str, Path] = {}

    def folder_of(format_name: str) -> Path:
        if format_name not in folders:
            folders[format_name] = tmp_path_factory.mktemp(format_name) / "out"
            to = str(folders[format_name])
            views = world.views
            export(
                world.workspace, world.freeze(), to, format_name, views=views, progress=quiet, shard_bytes=SHARD_BYTES
            )
        return folders[format_name]

    return folder_of


@pytest.fixture
def load_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()

    def load(*args, **options):
        return datasets.load_dataset(*args, split="train", cache_dir=str(tmp_path / "cache"), **options)

    return load


def same_pixels(image: Image.Image, data: bytes) -> bool:
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    return bool(np.array_equal(np.asarray(image.convert("RGB")), expected))


def test_webdataset_reads_the_shards(world, exported) -> None:
    webdataset = pytest.importorskip("webdataset")
    shards = sorted(str(path) for path in exported("webdataset").rglob("*.tar"))
    assert len(shards) > 3
    seen = {}
    for sample in webdataset.WebDataset(shards, shardshuffle=False, empty_check=False):
        told = json.loads(sample["json"])
        suffix = SUFFIX[told["format"]]
        assert set(sample) - {"__key__", "__url__", "__local_path__"} == {suffix, "json", "txt"}
        assert content_id(sample[suffix]) == sample["__key__"] == told["image_id"]
        assert sample[suffix] == world.originals[sample["__key__"]]
        assert sample["txt"].decode() == (told["caption"] or "")
        bucket = Path(sample["__url__"]).parent.name
        assert bucket == f"{told['bucket'].replace(':', 'x')}-{told['resolution_px']}"
        assert sample["__key__"] not in seen
        seen[sample["__key__"]] = told
    assert seen.keys() == world.originals.keys()
    captioned = next(told for told in seen.values() if told["original_key"] == "photo 7.jpg")
    assert captioned["caption"] == "caption “7”\nwith a second line"
    caption = {"kind": "source", "text": captioned["caption"], "language": None, "caption_id": None}
    assert captioned["captions"] == [caption]
    assert (captioned["dataset"], captioned["licence"], captioned["domain"]) == ("holiday", "CC-BY-4.0", "photo")
    assert captioned["scores"] == {"sharpness": captioned["width_px"] / 1000, "quality": None, "version": "v1"}


def test_webdataset_decodes_the_images(world, exported) -> None:
    webdataset = pytest.importorskip("webdataset")
    shards = sorted(str(path) for path in exported("webdataset").rglob("*.tar"))
    loader = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pil")
    decoded = 0
    for sample in loader:
        image = next(sample[suffix] for suffix in SUFFIX.values() if suffix in sample)
        if isinstance(image, Image.Image):  # webdataset itself leaves some formats as bytes
            assert same_pixels(image, world.originals[sample["__key__"]])
            decoded += 1
        assert sample["json"]["image_id"] == sample["__key__"]
    assert decoded >= 12


@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_parquet(world, exported, load_dataset) -> None:
    rows = load_dataset("parquet", data_files=str(exported("parquet") / "data" / "*.parquet"))
    assert [row["image_id"] for row in rows] == sorted(world.originals)
    for row in rows:
        assert same_pixels(row["image"], world.originals[row["image_id"]])
        assert row["scores"]["sharpness"] == row["width_px"] / 1000
        assert row["captions"] == ([] if row["caption"] is None else [_source_caption(row["caption"])])


def test_parquet_keeps_original_bytes(world, exported) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    files = sorted(exported("parquet").rglob("*.parquet"))
    assert len(files) > 2
    rows = [row for file in files for row in pq.read_table(file, columns=["image", "image_id"]).to_pylist()]
    assert {row["image_id"]: row["image"]["bytes"] for row in rows} == dict(world.originals)
    assert all(Path(row["image"]["path"]).stem == row["image_id"] for row in rows)


@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_imagefolder(world, exported, load_dataset) -> None:
    rows = load_dataset("imagefolder", data_dir=str(exported("imagefolder")))
    assert [row["image_id"] for row in rows] == sorted(world.originals)
    for row in rows:
        assert same_pixels(row["image"], world.originals[row["image_id"]])
        told = json.loads(row["record"])
        assert row["text"] == (told["caption"] or "")
        assert (row["bucket"], row["width_px"]) == (told["bucket"], told["width_px"])


def test_lancedb_opens_the_table(world, exported) -> None:
    lancedb = pytest.importorskip("lancedb")
    table = lancedb.connect(str(exported("lance"))).open_table("images")
    rows = table.to_arrow().to_pylist()
    assert {row["image_id"]: row["image"] for row in rows} == dict(world.originals)
    assert len(rows) == len(world.originals)
    assert all(row["scores"]["sharpness"] == row["width_px"] / 1000 for row in rows)


@pytest.mark.parametrize("format_name", ["webdataset", "parquet", "imagefolder"])
def test_the_manifest_tells_all(world, exported, format_name: str) -> None:
    folder = exported(format_name)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert (manifest["snapshot_id"], manifest["format"], manifest["images"]) == (world.freeze(), format_name, 21)
    told = [image for shard in manifest["shards"] for image in shard["image_ids"]]
    assert sorted(told) == sorted(world.originals)
    for part in [*manifest["shards"], *manifest["files"]]:
        if part["sha256"]:
            data = (folder / part["name"]).read_bytes()
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (part["sha256"], part["bytes"])
    assert not (folder / ".export").exists()


def _source_caption(text: str) -> dict[str, object]:
    return {"kind": "source", "text": text, "language": None, "caption_id": None}
