"""Folders in the formats that CLIPs are published in load by the ordinary path, and see and read as open_clip's own do.

Weights are random and the towers are cut to a few blocks, but for one slow test: what is proven is that a folder of that
architecture is found, read and fed as its authors meant it.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from flywheel.encoders.clip import CONFIG, WEIGHTS, OpenClip, describe, write_config
from flywheel.images.fitted import fitted_view
from flywheel.records import Budgets, Failure

open_clip = pytest.importorskip("open_clip")
torch = pytest.importorskip("torch")

TEXTS = ["a red star", "two dogs on a beach, at dawn"]


def picture() -> bytes:
    rng = np.random.default_rng(2)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8))
    held = io.BytesIO()
    coarse.resize((640, 480), Image.Resampling.BICUBIC).save(held, "PNG")
    return held.getvalue()


def saved(folder: Path, model: Any, dtype: Any = None) -> None:
    folder.mkdir()
    state = {name: (value.to(dtype) if dtype else value).contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / WEIGHTS)


def held_to_open_clip(folder: Path, tolerance: float = 1e-4) -> None:
    """Vectors of the bytes of a picture and of texts, against open_clip's own transform, tokenizer and model."""
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    words = open_clip.get_tokenizer(f"local-dir:{folder}")
    ours = OpenClip(folder)
    seen = fitted_view(picture(), Budgets(), ours.fit)
    assert not isinstance(seen, Failure)
    with torch.inference_mode():
        theirs.eval()
        image = theirs.encode_image(transform(Image.open(io.BytesIO(picture())))[None], normalize=True).numpy()
        texts = theirs.encode_text(words(TEXTS), normalize=True).numpy()
    assert ours.dims == image.shape[1]
    assert np.abs(ours.images([seen]) - image).max() < 5e-3  # one resize in PIL against another: levels differ by one
    assert np.abs(ours.texts(TEXTS) - texts).max() < tolerance
    assert ours.tokens(TEXTS[0]) < ours.tokens(TEXTS[1])


@pytest.mark.parametrize("architecture", ["ViT-B-32-quickgelu", "ViT-L-14-quickgelu"])
def test_openais_formats(architecture: str, tmp_path: Path) -> None:
    """Published without a configuration: `models pull` writes the architecture's beside it."""
    torch.manual_seed(0)
    config = open_clip.get_model_config(architecture)
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 2
    saved(tmp_path / "clip-x", open_clip.CLIP(**config))
    write_config(tmp_path / "clip-x", architecture)
    said = json.loads((tmp_path / "clip-x" / CONFIG).read_text())
    assert said["model_cfg"] == open_clip.get_model_config(architecture)
    (tmp_path / "clip-x" / CONFIG).write_text(json.dumps(said | {"model_cfg": config}))
    held_to_open_clip(tmp_path / "clip-x")


def test_siglip2s_format(tmp_path: Path) -> None:
    """Squashed to a square, other levels, a timm tower, a tokenizer of its own beside the weights."""
    from model.miniature.build.tokenizer import world_tokenizer

    torch.manual_seed(0)
    words, config = world_tokenizer(), open_clip.get_model_config("ViT-B-16-SigLIP2")
    config["vision_cfg"]["timm_model_name"] = "vit_base_patch16_siglip_224"
    config["text_cfg"] |= {"vocab_size": 1024, "layers": 2}
    folder = tmp_path / "siglip-x"
    saved(folder, open_clip.CustomTextCLIP(**{name: value for name, value in config.items() if name != "custom_text"}))
    words.save_pretrained(folder)
    half = [0.5, 0.5, 0.5]
    taken = {"mean": half, "std": half, "interpolation": "bicubic", "resize_mode": "squash"}
    (folder / CONFIG).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": taken}))
    assert describe(folder).fit.how == "squash"
    held_to_open_clip(folder)


@pytest.mark.slow
def test_a_whole_vit_l_14_in_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-L-14-quickgelu", pretrained=None)
    saved(tmp_path / "clip-vit-l-14-1", model, torch.float16)
    del model
    write_config(tmp_path / "clip-vit-l-14-1", "ViT-L-14-quickgelu")
    assert describe(tmp_path / "clip-vit-l-14-1").dims == 768
    held_to_open_clip(tmp_path / "clip-vit-l-14-1")
