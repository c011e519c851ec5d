"""Every picture and prompt is encoded once, what cannot be used is counted, and a pair's halves stay together."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pictures
from small_model import model, write_pictures

from flywheel.buckets import BUCKETS, bucket_sides_px
from flywheel.errors import FlywheelError
from flywheel.records import Budgets, Failure
from model.condition import NULL_PROMPT
from model.data.examples import Located, offered
from model.data.framing import FrameContext, Framed, Wanted, cut, framed
from model.data.prepare import Preparation, Prepared, as_image
from model.layout import Image

CONTEXT = FrameContext(budgets=Budgets(), alpha=False)


def silent(done: int, total: int) -> None: ...


def test_pictures_and_prompts_are_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path / "data", 6, edits=2)
    made = model()
    first = Preparation(made.condition, made.vae, tmp_path / "cache")
    prepared = first.prepared(offered(tmp_path / "data").examples, (64,), 500, silent)
    assert (len(prepared.text_to_image), len(prepared.edits), prepared.left_out) == (6, 2, {})
    one = prepared.text_to_image[0]
    picture = Pictures.open(tmp_path / "data" / "p000.png")
    wanted = made.vae.encode(as_image(np.asarray(picture))[None])[0]
    torch.testing.assert_close(first.latents[one.latents[-1]].float(), wanted, atol=2e-2, rtol=1e-3)
    (condition,) = made.condition.encode([(tmp_path / "data" / "p000.txt").read_text()])
    # Among others it is padded, which may round otherwise.
    torch.testing.assert_close(first.prompts[one.prompt].float(), condition.features_SE, rtol=1e-2, atol=1e-2)
    assert one.text_tokens == len(condition.features_SE)
    monkeypatch.setattr(type(made.vae), "encode", None)
    monkeypatch.setattr(type(made.condition), "encode", None)
    again = Preparation(made.condition, made.vae, tmp_path / "cache")
    assert again.prepared(offered(tmp_path / "data").examples, (64,), 500, silent) == prepared


def test_what_two_workers_prepare_is_what_one_does(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", 5, edits=2)
    Pictures.new("RGB", (20, 20)).save(tmp_path / "data" / "tiny.png")
    (tmp_path / "data" / "tiny.txt").write_text("too small")
    made, examples = model(), offered(tmp_path / "data").examples
    alone = Preparation(made.condition, made.vae, tmp_path / "alone").prepared(examples, (64,), 500, silent)
    both = [Preparation(made.condition, made.vae, tmp_path / "cache") for _ in range(2)]
    parts = [one.prepared(examples[rank::2], (64,), 500, silent).to_json() for rank, one in enumerate(both)]
    assert Prepared.joined(parts, examples) == alone
    assert alone.left_out.total() == 1
    for worker in both:
        worker.look_again()
        for shown in (*alone.text_to_image, *alone.edits):
            assert shown.prompt in worker.prompts
            assert shown.null in worker.prompts
            assert all(name in worker.latents for name in shown.latents)


def test_an_edit_is_told_with_its_references_and_so_is_its_null(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", 0, edits=1)
    made = model()
    first = Preparation(made.condition, made.vae, tmp_path / "cache")
    (edit,) = first.prepared(offered(tmp_path / "data").examples, (64,), 500, silent).edits
    assert edit.images == (Image(4, 4), Image(4, 4))
    before = Pictures.open(tmp_path / "data" / "before000.png")
    asked = (offered(tmp_path / "data").examples[0].caption, NULL_PROMPT)
    for name, condition in zip(
        (edit.prompt, edit.null), made.condition.encode(asked, [[before], [before]]), strict=True
    ):
        assert torch.equal(first.prompts[name], condition.features_SE.bfloat16())
        assert tuple(first.prompts[f"{name}/runs"].tolist()) == condition.runs
    assert len(condition.runs) == 2


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_pictures(data, 3, edits=2)
    (data / "p000.png").write_bytes(b"no picture")
    (data / "before000.png").write_bytes((data / "before000.png").read_bytes()[:300])
    Pictures.new("RGB", (60, 60)).save(data / "p001.png")
    examples = offered(data).examples
    (data / "p002.png").unlink()
    made = model()
    prepared = Preparation(made.condition, made.vae, tmp_path / "cache").prepared(examples, (64,), 500, silent)
    assert (len(prepared.text_to_image), len(prepared.edits)) == (0, 1)
    assert prepared.left_out == {"not_an_image": 1, "truncated": 1, "below the lowest resolution": 1, "unreadable": 1}
    tight = Preparation(made.condition, made.vae, tmp_path / "cache").prepared(examples, (64,), 20, silent)
    assert tight.left_out["more tokens than a batch"] == 1


def test_latents_of_another_autoencoder_are_refused(tmp_path: Path) -> None:
    made, other = model(), model()
    Preparation(made.condition, made.vae, tmp_path)
    with torch.no_grad():
        other.vae.branch.leave.weight.add_(1)  # a decoder that was trained since: the latents are the same
    Preparation(other.condition, other.vae, tmp_path)
    with torch.no_grad():
        other.vae.fold.weight.add_(1e-3)
    with pytest.raises(FlywheelError, match=r"latents was made with autoencoder \w+, this run has \w+"):
        Preparation(other.condition, other.vae, tmp_path)
    shutil.rmtree(tmp_path / "latents")
    Preparation(other.condition, other.vae, tmp_path)


def test_frames_are_the_middle_in_whole_tokens_and_nothing_is_enlarged(tmp_path: Path) -> None:
    picture = Pictures.new("RGB", (800, 200), "red")
    picture.paste("blue", (100, 0, 700, 200))
    picture.save(tmp_path / "wide.png")
    data = (tmp_path / "wide.png").read_bytes()
    found = framed(Wanted(data=data, sides_px=(96, 192), pixels=True), CONTEXT)
    assert isinstance(found, Framed)
    # 4:1 is cut to 3:1, which leaves 200 px of height: the larger resolution is reached.
    assert (found.side_px, found.width_px, found.height_px) == (192, *bucket_sides_px("3:1", 192))
    assert found.pixels is not None
    assert found.pixels.shape == (found.height_px, found.width_px, 3)
    assert (found.pixels[:, 4:-4] == (0, 0, 255)).all()
    assert framed(Wanted(data=data, sides_px=(256,), pixels=True), CONTEXT) == Framed(side_px=None)
    rate = framed(Wanted(data=data, sides_px=(256,), pixels=False, at_any_rate=True), CONTEXT)
    assert isinstance(rate, Framed)
    assert (rate.side_px, rate.pixels) == (256, None)
    assert isinstance(framed(Wanted(data=b"", sides_px=(96,), pixels=True), CONTEXT), Failure)


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    lot = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (48, 64, 3), generator=lot, dtype=torch.uint8).numpy()
    assert (np.asarray(cut(Pictures.fromarray(pixels), 64, 48)) == pixels).all()


@pytest.mark.parametrize("side", [96, 256, 512, 1024, 2048])
def test_buckets_of_a_resolution_have_about_as_many_tokens(side: int) -> None:
    for bucket, ratio in BUCKETS.items():
        width, height = bucket_sides_px(bucket, side)
        assert width % 16 == height % 16 == 0
        assert 0.75 < width * height / side**2 < 1.2
        assert 0.7 < width / height / ratio < 1.45


def test_a_file_is_read_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    assert Located(path=tmp_path / "x").read(4) == b"01234"
    assert Located(path=tmp_path / "x", offset=6, length=3).read(100) == b"678"
