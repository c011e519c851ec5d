"""The network against diffusers' QwenImage21Transformer2DModel, weights copied across; and what the release cannot show."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.layout import Image, Layout, Text, edit, text_to_image
from model.mmdit import MMDiT, MMDiTConfig, PrefixCache

diffusers = pytest.importorskip("diffusers", reason="the oracle is a test extra")
from diffusers import QwenImage21Transformer2DModel  # noqa: E402
from diffusers.models.transformers import transformer_qwenimage21  # noqa: E402
from diffusers.models.transformers.transformer_qwenimage21 import QwenImage21KVCache  # noqa: E402

SMALL: dict[str, Any] = {
    "in_channels": 8,
    "out_channels": 8,
    "num_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 3,
    "context_in_dim": 20,
    "axes_dims_rope": (4, 6, 6),
}
LAYOUTS = {
    "text to image": text_to_image(7, 4, 6),
    "one reference": edit([3, 5], [Image(4, 2)], Image(4, 4)),
    "three references": edit([2, 1, 0, 4], [Image(2, 2), Image(2, 4), Image(6, 2)], Image(2, 6)),
}
CLOSE = 1e-5  # relative to the largest number


def apart(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def pair(**changed: Any) -> tuple[MMDiT, QwenImage21Transformer2DModel]:
    torch.manual_seed(0)
    theirs = QwenImage21Transformer2DModel(**{**SMALL, **{k: v for k, v in changed.items() if k != "mask"}})
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.25)
    ours = MMDiT(MMDiTConfig(**{**SMALL, **changed}))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def inputs(layout: Layout, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    latents = torch.randn(batch, len(layout.image_places), 8, generator=draw)
    context = torch.randn(batch, len(layout.text_places), 20, generator=draw)
    return latents, context, torch.rand(batch, generator=draw)


def asked(
    layout: Layout, latents: Tensor, context: Tensor, sigma: Tensor, valid: Tensor | None = None
) -> dict[str, Any]:
    """The same call as diffusers wants it: features at the encoder's image slots too, four latent tokens a slot."""
    slots, text = [], iter(range(context.shape[1]))
    columns: list[Tensor] = []
    for piece in layout.pieces[:-1]:
        if isinstance(piece, Text):
            columns += [context[:, next(text)] for _ in range(piece.tokens)]
            slots += [False] * piece.tokens
        else:
            columns += [torch.full_like(context[:, 0], 7.0)] * (piece.tokens // 4)
            slots += [True] * (piece.tokens // 4)
    mask = None
    if valid is not None:
        mask = torch.ones(len(latents), len(slots), dtype=torch.bool)
        mask[:, ~torch.tensor(slots)] = valid
    slots += [True] * (layout.target.tokens // 4)
    return {
        "hidden_states": latents,
        "encoder_hidden_states": torch.stack(columns, dim=1),
        "timestep": sigma,
        "img_shapes": [[(1, image.height, image.width) for image in layout.images]] * len(latents),
        "img_mask": torch.tensor([slots] * len(latents)),
        "encoder_hidden_states_mask": mask,
        "return_dict": False,
    }


def target(layout: Layout, out: Tensor) -> Tensor:
    return out[:, -layout.target.tokens :]


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("mask", ["block_causal", "full"])
@pytest.mark.parametrize("causal_condition", [True, False])
@pytest.mark.parametrize("padded", [False, True])
def test_forward_and_all_gradients_are_the_releases(
    name: str, mask: str, causal_condition: bool, padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release has no full mask; with no segments before the target its attention is one call over all tokens."""
    if mask == "full":
        monkeypatch.setattr(transformer_qwenimage21, "_qwenimage21_prefix_segments", lambda image_ids, prefix: [])
    layout = LAYOUTS[name]
    ours, theirs = pair(causal_condition=causal_condition, mask=mask)
    latents, context, sigma = inputs(layout)
    valid = None
    if padded:
        valid = torch.ones(context.shape[:2], dtype=torch.bool)
        valid[1, -3:] = False
    got = ours(latents, context, sigma, layout, valid_BS=valid)
    wanted = target(layout, theirs(**asked(layout, latents, context, sigma, valid))[0])
    assert apart(got, wanted) <= CLOSE
    pull = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(2))
    (got * pull).sum().backward()
    (wanted * pull).sum().backward()
    twins = dict(theirs.named_parameters())
    assert len(twins) == len(list(ours.parameters()))
    for weight_name, weight in ours.named_parameters():
        twin = twins[weight_name].grad
        assert weight.grad is not None
        assert twin is not None
        assert apart(weight.grad, twin) <= CLOSE, weight_name


@pytest.mark.parametrize("name", LAYOUTS)
def test_steps_from_a_kept_prefix_are_whole_passes_and_the_releases(name: str) -> None:
    layout = LAYOUTS[name]
    ours, theirs = pair()
    latents, context, _ = inputs(layout)
    cache, their_cache = PrefixCache(), QwenImage21KVCache(3)
    for step, sigma in enumerate((1.0, 0.6, 0.2)):
        at = torch.full((2,), sigma)
        latents = torch.cat([latents[:, : -layout.target.tokens], torch.randn(2, layout.target.tokens, 8)], dim=1)
        with torch.no_grad():
            kept = ours(latents, context, at, layout, cache=cache)
            whole = ours(latents, context, at, layout)
            mode = "cached" if step else "extract"
            wanted = theirs(**asked(layout, latents, context, at), kv_cache=their_cache, kv_cache_mode=mode)[0]
        assert apart(kept, whole) <= CLOSE
        assert apart(kept, target(layout, wanted)) <= CLOSE


def test_learned_places_are_stretched_over_every_image_and_survive_a_folder(tmp_path: Path) -> None:
    """Alike at the same share of an image's sides, whatever its size; the same with a kept prefix; nothing where they are zero."""
    torch.manual_seed(0)
    ours, plain = MMDiT(MMDiTConfig(**SMALL, places=2)), MMDiT(MMDiTConfig(**SMALL))
    for weight in ours.parameters():
        torch.nn.init.normal_(weight, std=0.25)
    entered = ours._images(torch.zeros(1, 24, 8), (Image(4, 4), Image(2, 4)))[0]
    large, flat = entered[:16].view(4, 4, -1), entered[16:].view(2, 4, -1)
    torch.testing.assert_close(flat[:, ::3], large[::3, ::3])
    torch.testing.assert_close(
        large[:, 0], torch.lerp(large[0, 0], large[3, 0], torch.tensor([0, 0.25, 0.75, 1])[:, None])
    )
    layout = LAYOUTS["one reference"]
    latents, context, sigma = inputs(layout)
    cache = PrefixCache()
    with torch.no_grad():
        whole = ours(latents, context, sigma, layout)
        assert apart(ours(latents, context, sigma, layout, cache=cache), whole) <= CLOSE
        assert apart(ours(latents, context, sigma, layout, cache=cache), whole) <= CLOSE
        ours.save_pretrained(tmp_path)
        assert torch.equal(MMDiT.load_pretrained(tmp_path)(latents, context, sigma, layout), whole)
        plain.load_state_dict({name: value for name, value in ours.state_dict().items() if name != "img_places"})
        assert apart(plain(latents, context, sigma, layout), whole) > 0.01
        ours.img_places.zero_()
        assert torch.equal(plain(latents, context, sigma, layout), ours(latents, context, sigma, layout))


def test_under_the_full_mask_nothing_can_be_kept() -> None:
    layout = LAYOUTS["one reference"]
    ours, _ = pair(mask="full")
    with pytest.raises(ValueError, match="block-causal"):
        ours(*inputs(layout), layout, cache=PrefixCache())


def test_text_sees_neither_what_follows_nor_the_target() -> None:
    layout = LAYOUTS["one reference"]
    ours, _ = pair()
    latents, context, sigma = inputs(layout)
    seen: list[Tensor] = []
    ours.transformer_blocks[2].register_forward_hook(lambda module, given, out: seen.append(out))
    ours(latents, context, sigma, layout)
    moved, changed = latents.clone(), context.clone()
    moved[:, -1] += 1
    changed[:, 4] += 1
    ours(moved, changed, sigma, layout)
    place = layout.text_places[4]
    assert torch.equal(seen[0][:, :place], seen[1][:, :place])
    assert not torch.equal(seen[0][:, place], seen[1][:, place])


def test_a_sample_does_not_depend_on_its_neighbours_padding() -> None:
    long = text_to_image(7, 4, 4)
    ours, _ = pair()
    latents, context, sigma = inputs(long)
    valid = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    batch = ours(latents, context, sigma, long, valid_BS=valid)
    other = context.clone()
    other[1, 4:] = 99.0
    assert torch.equal(batch, ours(latents, other, sigma, long, valid_BS=valid))
    alone = ours(latents[:1], context[:1], sigma[:1], long)
    assert apart(batch[:1], alone) <= CLOSE


def test_checkpointing_changes_nothing_but_memory() -> None:
    layout = LAYOUTS["text to image"]
    ours, _ = pair()
    latents, context, sigma = inputs(layout)
    grads = []
    for ours.checkpointing in (False, True):
        ours.zero_grad()
        ours(latents, context, sigma, layout).square().mean().backward()
        grads.append([weight.grad.clone() for weight in ours.parameters() if weight.grad is not None])
    assert all(torch.equal(one, two) for one, two in zip(*grads, strict=True))


def test_the_release_has_7_billion_weights() -> None:
    with torch.device("meta"):
        network = MMDiT(MMDiTConfig())
    assert round(sum(weight.numel() for weight in network.parameters()) / 1e9, 3) == 7.115


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    layout = LAYOUTS["text to image"]
    ours, _ = pair()
    latents, context, sigma = inputs(layout)
    with pytest.raises(ValueError, match="24 image and 7 text tokens, not 23 and 7"):
        ours(latents[:, 1:], context, sigma, layout)
    with pytest.raises(ValueError, match="add up to 16 channels"):
        MMDiTConfig(**{**SMALL, "axes_dims_rope": (4, 6, 8)})
    with pytest.raises(ValueError, match="block_causal or full"):
        MMDiTConfig(mask="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="between 3 runs"):
        edit([1], [Image(2, 2), Image(2, 2)], Image(2, 2))
    with pytest.raises(ValueError, match="ends with the image"):
        Layout((Text(3),))


def test_positions_of_a_layout() -> None:
    layout = edit([2, 1], [Image(2, 4)], Image(2, 2))
    frames = [position[0] for position in layout.positions]
    assert frames == [0, 1, *[2] * 8, 6, *[7] * 4]
    assert layout.positions[2] == (2, -1, -2)
    assert layout.positions[9] == (2, 0, 1)
    assert layout.prefix == 11
    assert sorted((*layout.text_places, *layout.image_places)) == list(range(layout.tokens))
    assert math.prod([image.tokens for image in layout.images]) == 32
    spans = [(segment.start, segment.end) for segment in layout.segments]
    assert list(itertools.chain.from_iterable(spans)) == [0, 2, 2, 10, 10, 11, 11, 15]
