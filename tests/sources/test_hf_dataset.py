import io
import json
from pathlib import Path

import datasets
import pytest
from PIL import Image

from flywheel.errors import SourceError
from flywheel.records import Reason
from pipelines.sources import open_source


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    datasets.disable_progress_bars()
    features = datasets.Features(
        {"image": datasets.Image(), "text": datasets.Value("string"), "licence": datasets.Value("string")}
    )
    pictures = [Image.new("RGB", (8, 8), (40 * n, 0, 0)) for n in range(5)]
    rows = {"image": pictures, "text": [f"caption {n}" for n in range(5)], "licence": ["CC0"] * 5}
    split = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": split, "test": split.select(range(2))}).save_to_disk(
        str(tmp_path / "set"), num_shards={"train": 2, "test": 1}
    )
    return tmp_path / "set"


def test_a_dataset_dict_gives_every_split(saved: Path) -> None:
    items = list(open_source(str(saved)))
    assert [item.caption for item in items] == [f"caption {n}" for n in (0, 1, 2, 3, 4, 0, 1)]
    assert {item.licence for item in items} == {"CC0"}
    assert {item.dataset for item in items} == {"set"}
    assert len({item.uri for item in items}) == 7
    assert all(item.copy for item in items)
    reds = [Image.open(io.BytesIO(item.inline or b"")).getpixel((0, 0)) for item in items[:5]]
    assert reds == [(40 * n, 0, 0) for n in range(5)]


def test_one_split_is_a_source_too(saved: Path) -> None:
    assert len(list(open_source(str(saved / "train")))) == 5


def test_a_cut_arrow_file_keeps_what_came_before(saved: Path) -> None:
    (shard,) = (saved / "test").glob("*.arrow")
    shard.write_bytes(shard.read_bytes()[:-200])
    items = list(open_source(str(saved / "test")))
    assert [item.refused for item in items] == [Reason.TRUNCATED]


@pytest.mark.parametrize("name", ["../train/data-00000-of-00002.arrow", "/etc/passwd", "", "..", "absent.arrow"])
def test_names_cannot_lead_elsewhere(saved: Path, name: str) -> None:
    (saved / "test/state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(SourceError):
        list(open_source(str(saved / "test")))


def test_a_data_set_without_images_says_so(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"n": [1]}).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(SourceError, match="no image column"):
        list(open_source(str(tmp_path / "set")))
