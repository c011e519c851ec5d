"""Real photographs through whole profiles: what weights on this machine can say of them is said, and nothing is invented."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calling import call
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from flywheel.encoders.clip import CONFIG, WEIGHTS

PHOTOS = Path(__file__).parents[2].parent / "shared" / "data" / "photos"
NUMBER = 10
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PHOTOS.is_dir(), reason="the shared photographs are not beside the checkout"),
]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of different names, each with a caption."""
    folder = tmp_path_factory.mktemp("photographs")
    usable = [path for path in sorted(PHOTOS.glob("*.jp*g")) if 20_000 < path.stat().st_size < 1_500_000]
    for at, path in enumerate(usable[:: max(1, len(usable) // NUMBER)][:NUMBER]):
        shutil.copy2(path, folder / f"{at}{path.suffix}")
        (folder / f"{at}.txt").write_text(f"photograph number {at} of a small set")
    return folder


def rows(place: Path, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call("sql", sql, "-w", place, "--json").json
    return found


def curated(place: Path, profile: str, photographs: Path) -> dict[str, Any]:
    call("init", "-w", place, "--profile", profile)
    told = call("curate", photographs, "-w", place, "--workers", "2", "--json").json
    return {step["step"]: step for step in told["steps"]}


def test_the_miniature_abstains_from_photographs_and_says_so(photographs: Path, tmp_path: Path) -> None:
    place = tmp_path / "ws"
    steps = curated(place, "miniature", photographs)
    abstained = rows(
        place, "SELECT subject_id AS image_id, detail FROM outcomes WHERE step = 'embed' AND reason = 'out_of_domain'"
    )
    assert steps["embed"]["counts"]["rejected:out_of_domain"] == len(abstained) > NUMBER / 2
    assert all("was not made for such a picture" in row["detail"] for row in abstained)
    known = {
        row["image_id"]
        for row in rows(place, "SELECT subject_id AS image_id FROM embeddings WHERE subject_kind = 'image'")
    }
    assert known.isdisjoint(row["image_id"] for row in abstained)
    for table in ("score_aesthetic", "score_nsfw", "score_watermark", "alignment", "captions WHERE kind <> 'raw'"):
        assert {row["image_id"] for row in rows(place, f"SELECT image_id FROM {table}")} <= known, table
    everyone = rows(place, "SELECT image_id, sharpness, aesthetic FROM scores")
    assert len(everyone) == NUMBER
    assert all(row["sharpness"] is not None for row in everyone)  # what needs no weights is there
    explained = call("explain", abstained[0]["image_id"], "-w", place)
    assert "unjudged" in explained.out, explained.out


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the `cpu` profile names: a ViT-B/32 of OpenAI's format cut to two blocks, LAION's heads, never trained."""
    open_clip, torch = pytest.importorskip("open_clip"), pytest.importorskip("torch")
    home = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    config = open_clip.get_model_config("ViT-B-32-quickgelu")
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 2
    folder = home / "clip-vit-b-32-1"
    folder.mkdir()
    save_file(open_clip.CLIP(**config).state_dict(), folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    rng = np.random.default_rng(0)
    for name in ("aesthetic", "nsfw", "watermark"):
        head = {"weight": rng.normal(size=(1, 512)).astype(np.float32), "bias": np.array([5.0], np.float32)}
        save_arrays(head, home / f"{name}-vit-b-32-1.safetensors")
    return home


def test_the_cpu_profile_scores_photographs_with_weights_of_the_published_formats(
    photographs: Path, small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYWHEEL_MODELS", str(small_weights))
    place = tmp_path / "ws"
    steps = curated(place, "cpu", photographs)
    assert steps["embed"]["counts"]["embedded"] == NUMBER
    for name in ("aesthetic", "nsfw", "watermark"):
        scored = rows(place, f"SELECT {name} AS score, version FROM score_{name}")
        assert len({row["score"] for row in scored}) == NUMBER
        assert {row["version"] for row in scored} == {f"{name}-vit-b-32-1"}
    aligned = rows(place, "SELECT kind, cosine FROM alignment")
    assert [row["kind"] for row in aligned] == ["raw"] * NUMBER
    assert "flywheel doctor" in steps["caption"]["why"]
    assert rows(place, "SELECT * FROM captions WHERE kind <> 'raw'") == []
    found = call("search", "a dog", "-w", place, "--mode", "vector", "-k", "3", "--json").json
    assert len(found["hits"]) == 3
