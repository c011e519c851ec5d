"""LoRAs: trained beside frozen maps, read by diffusers and in ComfyUI's layout; frozen maps kept small or away are the same maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import small_model
import torch
from safetensors.torch import load_file, save_file
from small_run import LAYOUT, NETWORK, RECIPE, batches, network
from torch import Tensor, nn

from flywheel.errors import FlywheelError
from model.data.examples import offered
from model.frozen import FrozenLinear
from model.lora import COMFYUI, DIFFUSERS, LoRA, adapt, merge, save_lora
from model.mmdit import MMDiT
from model.train.generator import train_generator
from model.train.loop import Trainer
from model.train.objective import generator_task
from model.train.optim import trained

TUNED = replace(RECIPE, begins="weights", lora=LoRA(rank=3, alpha=6.0), steps=10)


def asked(made: MMDiT) -> Tensor:
    batch = batches(0, 0)
    latents = torch.cat([batch.references_BRC, batch.target_BNC], dim=1)
    found: Tensor = made(latents, batch.context_BSE, torch.linspace(0.1, 0.9, len(latents)), LAYOUT)
    return found


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[MMDiT, Path]:
    """A network with what ten steps added to it, and the folder that holds that."""
    made, run = network(), tmp_path_factory.mktemp("run")
    adapt(made, TUNED.lora, 0, torch.float32)
    before = asked(made).detach()
    torch.testing.assert_close(before, asked(network()))  # nothing at first
    list(Trainer(TUNED, generator_task(made, TUNED), batches, run).follow())
    assert (asked(made) - before).abs().max() > 1e-3
    save_lora(dict(trained(made)), 2.0, run / "lora")
    return made, run / "lora"


def test_only_what_is_added_learns_and_is_saved(tuned: tuple[MMDiT, Path]) -> None:
    made, folder = tuned
    own = dict(network().named_parameters())
    left = {name: weight for name, weight in made.state_dict().items() if name in own}
    assert left, "what is no map of a block keeps its name"
    for name, weight in left.items():
        assert torch.equal(weight, own[name]), name
    assert torch.equal(
        made.get_buffer("transformer_blocks.1.attn.to_q.base.weight_OI"), own["transformer_blocks.1.attn.to_q.weight"]
    )
    assert all(".lora_" in name for name, _ in trained(made))
    saved = load_file(next(folder.parent.glob("step-*")) / _weights_file(folder))
    assert {name.split("/")[0] for name in saved} >= {"network", "average"}
    assert all(".lora_" in name for name in saved)


def _weights_file(folder: Path) -> str:
    return next(path.name for path in sorted(folder.parent.glob("step-*"))[0].rglob("*.safetensors"))


def test_merged_it_is_one_network(tuned: tuple[MMDiT, Path]) -> None:
    made, folder = tuned
    plain = network()
    merge(plain, folder)
    torch.testing.assert_close(asked(plain), asked(made), rtol=1e-4, atol=1e-5)


def test_diffusers_reads_it(tuned: tuple[MMDiT, Path]) -> None:
    """Through the door that users take: the pipeline's own `load_lora_weights`."""
    diffusers = pytest.importorskip("diffusers", reason="the oracle is a test extra")
    pytest.importorskip("peft", reason="diffusers reads LoRAs with peft")
    _, folder = tuned
    known = {name: value for name, value in NETWORK.to_json().items() if name not in ("mask", "places")}
    theirs = diffusers.models.QwenImage21Transformer2DModel(**known)
    theirs.load_state_dict(network().state_dict())
    state = diffusers.loaders.lora_pipeline.QwenImageLoraLoaderMixin.lora_state_dict(folder, weight_name=DIFFUSERS)
    diffusers.loaders.lora_pipeline.QwenImageLoraLoaderMixin.load_lora_into_transformer(state, theirs)
    theirs.fuse_lora()
    merged = network()
    merge(merged, folder)
    found = {name.replace(".base_layer", ""): weight for name, weight in theirs.state_dict().items()}
    for name, weight in merged.state_dict().items():
        torch.testing.assert_close(found[name], weight, rtol=1e-5, atol=1e-6)


def test_comfyui_layout_adds_the_same_to_its_fused_matrices(tuned: tuple[MMDiT, Path]) -> None:
    _, folder = tuned
    plain, merged = network().state_dict(), network()
    merge(merged, folder)
    read = load_file(folder / COMFYUI)
    names = {name.rpartition(".lora_")[0] for name in read}
    assert len(names) == 2 * 6  # four maps of attention, gate and value as one, the way out
    for name in names:
        added = read[f"{name}.lora_B.weight"] @ read[f"{name}.lora_A.weight"]
        inside = name.removeprefix("diffusion_model.")
        parts = [inside.replace("gate_up", part) for part in (("gate_layer", "proj") if "gate_up" in inside else ("",))]
        before = torch.cat([plain[f"{part}.weight"] for part in parts])
        after = torch.cat([merged.state_dict()[f"{part}.weight"] for part in parts])
        torch.testing.assert_close(before + added, after, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("eight_bits", [False, True])
def test_a_frozen_map_is_its_matrix_both_ways_and_keeps_no_copy(eight_bits: bool, away: bool) -> None:
    torch.manual_seed(0)
    plain, x = nn.Linear(24, 40, bias=False), torch.randn(5, 24, requires_grad=True)
    frozen = FrozenLinear(plain, torch.float32, eight_bits=eight_bits, away=away)
    matrix = frozen.whole(torch.device("cpu"), torch.float32)
    off = (matrix - plain.weight).abs() / plain.weight.abs().amax(dim=1, keepdim=True)
    assert off.max() <= (0.5 / 127 + 1e-6 if eight_bits else 0)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        out = frozen(x)
    assert not kept
    torch.testing.assert_close(out, x @ matrix.T)
    (gradient,) = torch.autograd.grad(out.square().sum(), x)
    torch.testing.assert_close(gradient, 2 * (x @ matrix.T) @ matrix, rtol=1e-4, atol=1e-5)
    frozen.to(torch.float64)
    assert frozen.weight_OI.dtype == (torch.int8 if eight_bits else torch.float32 if away else torch.float64)


def test_eight_bits_train_nearly_as_whole_matrices_do(tmp_path: Path) -> None:
    losses = {}
    for base in ("whole", "8 bits"):
        recipe = replace(TUNED, lora=replace(TUNED.lora, base=base, away=base == "8 bits"), steps=6)
        made = network()
        adapt(made, recipe.lora, 0, torch.float32)
        losses[base] = [
            told.loss for told in Trainer(recipe, generator_task(made, recipe), batches, tmp_path / base[:1]).follow()
        ]
    assert losses["whole"] != losses["8 bits"]
    torch.testing.assert_close(torch.tensor(losses["8 bits"]), torch.tensor(losses["whole"]), rtol=0.02, atol=0)


def test_a_run_leaves_files_that_a_model_draws_with(tmp_path: Path) -> None:
    small_model.write_pictures(tmp_path / "data", 12)
    base = small_model.model()
    recipe = replace(small_model.RECIPE, begins="weights", lora=LoRA(rank=2), edits=0.0)
    report = train_generator(
        recipe,
        base,
        offered(tmp_path / "data"),
        tmp_path / "run",
        cache=tmp_path / "cache",
        resume=False,
        watch=lambda *told: None,
    )
    assert report.model == tmp_path / "run" / "lora"
    assert {path.name for path in report.model.iterdir()} == {DIFFUSERS, COMFYUI}
    assert not (tmp_path / "run" / "model").exists()
    merge(small_model.model().network, report.model)


def test_what_does_not_fit_is_refused_in_one_line(tuned: tuple[MMDiT, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="begins=weights"):
        replace(TUNED, begins="anew")
    with pytest.raises(ValueError, match="whole or 8 bits"):
        LoRA(base="4 bits")  # type: ignore[arg-type]
    with pytest.raises(FlywheelError, match="is no LoRA"):
        merge(network(), tmp_path)
    other = tmp_path / "other.safetensors"
    save_file({"transformer.transformer_blocks.9.attn.to_q.lora_A.weight": torch.zeros(2, 16)}, other)
    with pytest.raises(FlywheelError, match=r"does not fit this network: transformer_blocks\.9"):
        merge(network(), other)
