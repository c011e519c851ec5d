"""Heads: both of LAION's formats, held to ratings that are known; whatever else lies in a file is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from flywheel.encoders.heads import Head, load_head
from flywheel.errors import FlywheelError

REFERENCE = Path(__file__).parents[2].parent / "shared" / "data" / "reference"
needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason="the reference heads and embeddings are not here")


@needs_reference
@pytest.mark.parametrize(
    ("name", "ratings"),
    [
        (
            "laion_aesthetic/aesthetic-predictor__sa_0_4_vit_l_14_linear.pth",
            [-2.4579, -0.1379, 1.8951, 3.5849, 5.0997, 6.4701, 7.7870, 9.0480, 10.2264, 11.3044],
        ),
        (
            "improved-aesthetic-predictor__sac+logos+ava1-l14-linearMSE.pth",
            [1.6555, 2.3593, 3.0698, 3.6725, 4.2380, 4.7010, 5.0731, 5.3654, 5.5767, 5.7468],
        ),
    ],
)
def test_published_heads_rate_the_published_embeddings_as_published(name: str, ratings: list[float]) -> None:
    folder = REFERENCE / "laion_aesthetic"
    files = [folder / f"aesthetic-predictor__vit_l_14_embeddings__rating{at}.npy" for at in range(10)]
    vectors = np.stack([np.load(file).reshape(-1) for file in files]).astype(np.float32)
    np.testing.assert_allclose(load_head(REFERENCE / name, 768).scores(vectors), ratings, atol=2e-4)


@needs_reference
@pytest.mark.parametrize("model", ["b_16", "b_32"])
def test_the_smaller_published_heads_fit_their_models(model: str) -> None:
    path = REFERENCE / "laion_aesthetic" / f"aesthetic-predictor__sa_0_4_vit_{model}_linear.pth"
    assert load_head(path, 512).dims == 512
    with pytest.raises(FlywheelError, match="512 dims, not 768"):
        load_head(path, 768)


def test_a_stack_of_linear_maps_is_one_map(tmp_path: Path) -> None:
    torch.manual_seed(0)
    stack = torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.Dropout(), torch.nn.Linear(8, 1)).eval()
    state = {f"layers.{name}": weight.detach().numpy() for name, weight in stack.named_parameters()}
    save_file(state, tmp_path / "head.safetensors")
    vectors = torch.randn(20, 12)
    with torch.no_grad():
        wanted = stack(vectors)[:, 0].numpy()
    np.testing.assert_allclose(load_head(tmp_path / "head.safetensors", 12).scores(vectors.numpy()), wanted, atol=1e-5)


def test_chances_are_between_none_and_one() -> None:
    chances = Head(weight=np.array([1000.0]), bias=0.0).chances(np.array([[-1.0], [0.0], [1.0]], np.float32))
    np.testing.assert_allclose(chances, [0, 0.5, 1], atol=1e-12)


def test_what_is_no_head_is_refused_in_one_line(tmp_path: Path) -> None:
    save_file({"conv": np.zeros((3, 3), np.float32)}, tmp_path / "conv.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights at all")
    evil = tmp_path / "evil.pth"
    torch.save({"weight": Path("x")}, evil)  # a pickle that names a class
    for name, said in (
        ("conv.safetensors", "no head"),
        ("broken.safetensors", "cannot be read"),
        ("evil.pth", "cannot be read"),
    ):
        with pytest.raises(FlywheelError, match=said) as refused:
            load_head(tmp_path / name, 3)
        assert "\n" not in str(refused.value)
