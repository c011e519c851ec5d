"""Folders of weights: diffusers reads ours, we read diffusers', whole or in shards; what does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_run import SMALL

from flywheel.errors import FlywheelError
from model.mmdit import MMDiT, MMDiTConfig

diffusers = pytest.importorskip("diffusers", reason="the oracle is a test extra")

CONFIG = MMDiTConfig(**SMALL)


def network(seed: int = 0) -> MMDiT:
    torch.manual_seed(seed)
    return MMDiT(CONFIG)


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    ours, theirs = one.state_dict(), two.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("shard", ["5GB", 20_000])
def test_diffusers_reads_what_we_write(tmp_path: Path, shard: str | int) -> None:
    ours = network()
    ours.save_pretrained(tmp_path / "t", shard=shard)
    assert (tmp_path / "t" / "diffusion_pytorch_model.safetensors.index.json").exists() == (shard != "5GB")
    theirs = diffusers.QwenImage21Transformer2DModel.from_pretrained(tmp_path / "t")
    assert same(ours, theirs)
    assert theirs.config.axes_dims_rope == [4, 2, 2]
    assert same(MMDiT.load_pretrained(tmp_path / "t"), ours)


@pytest.mark.parametrize("size", ["5GB", "20KB"])
def test_we_read_what_diffusers_writes(tmp_path: Path, size: str) -> None:
    theirs = diffusers.QwenImage21Transformer2DModel(**SMALL)
    theirs.save_pretrained(tmp_path, max_shard_size=size)
    ours = MMDiT.load_pretrained(tmp_path)
    assert same(ours, theirs)
    assert ours.config == CONFIG


def test_a_full_mask_outlives_the_folder(tmp_path: Path) -> None:
    MMDiT(MMDiTConfig(**{**CONFIG.to_json(), "mask": "full"})).save_pretrained(tmp_path)
    assert MMDiT.load_pretrained(tmp_path).config.mask == "full"


def test_weights_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    network().save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    whole = load_file(path)

    def refused(held: dict[str, torch.Tensor], says: str) -> None:
        save_file(held, path)
        with pytest.raises(FlywheelError, match=says) as told:
            MMDiT.load_pretrained(tmp_path)
        assert "\n" not in str(told.value)

    refused({name: weight for name, weight in whole.items() if name != "img_in.weight"}, "lacks img_in.weight$")
    refused({**whole, "more": torch.zeros(1)}, "holds more, which this network has not")
    refused({**whole, "img_in.weight": torch.zeros(3, 3)}, r"\(3, 3\), not \(16, 4\)")
    path.write_bytes(b"no weights")
    with pytest.raises(FlywheelError, match="cannot be read as safetensors"):
        MMDiT.load_pretrained(tmp_path)
    path.unlink()
    with pytest.raises(FlywheelError, match=r"holds no diffusion_pytorch_model\.safetensors"):
        MMDiT.load_pretrained(tmp_path)


def test_an_index_reaches_no_file_outside_its_folder(tmp_path: Path) -> None:
    network().save_pretrained(tmp_path / "t", shard=20_000)
    index = tmp_path / "t" / "diffusion_pytorch_model.safetensors.index.json"
    read = json.loads(index.read_text())
    read["weight_map"]["img_in.weight"] = "../outside.safetensors"
    index.write_text(json.dumps(read))
    with pytest.raises(FlywheelError, match="outside its folder"):
        MMDiT.load_pretrained(tmp_path / "t")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match=r"holds no config\.json"):
        MMDiT.load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(FlywheelError, match="holds a UNet2DModel, not a QwenImage21"):
        MMDiT.load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "QwenImage21Transformer2DModel", "strange": 1}')
    with pytest.raises(FlywheelError, match="no config of this network"):
        MMDiT.load_pretrained(tmp_path)
