"""Real broken and hostile files: each gets the right reason or a view, in a child under the real limits."""

from pathlib import Path

import pytest

from flywheel.images.sandbox import Sandbox
from flywheel.records import Budgets, Failure, Reason

NASTY = Path(__file__).parents[2].parent / "shared" / "data" / "nasty"
BUDGETS = Budgets()

UNSUPPORTED_SUFFIXES = {
    ".sgi",
    ".j2k",
    ".fli",
    ".eps",
    ".icns",
    ".ico",
    ".blp",
    ".dds",
    ".heic",
    ".jxl",
    ".fits",
    ".hdr",
}
# Files of formats we do decode that must not become a picture. All others must.
REASONS = {
    "apng__syntax_num_frames_zero.png": Reason.BROKEN,
    "bmp__b__reallybig.bmp": Reason.TOO_MANY_PIXELS,
    "bmp__q__rgb24png.bmp": Reason.UNSUPPORTED_FORMAT,
    "bmp__q__rgba16-4444.bmp": Reason.UNSUPPORTED_FORMAT,
    "broken.png": Reason.BROKEN,
    "broken_data_stream.png": Reason.BROKEN,
    "crash-0c7e0e8e11ce787078f00b5b0ca409a167f070e0.tif": Reason.BROKEN,
    "crash-1152ec2d1a1a71395b6f2ce6721c38924d025bf3.tif": Reason.BROKEN,
    "crash-2020-10-test.tif": Reason.TRUNCATED,
    "crash-338516dbd2f0e83caddb8ce256c22db3bd6dc40f.tif": Reason.BROKEN,
    "crash-4f085cc12ece8cde18758d42608bed6a2a2cfb1c.tif": Reason.TRUNCATED,
    "crash-63b1dffefc8c075ddc606c0a2f5fdc15ece78863.tif": Reason.TRUNCATED,
    "crash-86214e58da443d2b80820cff9677a38a33dcbbca.tif": Reason.TRUNCATED,
    "crash-f46f5b2f43c370fe65706c11449f567ecc345e74.tif": Reason.BROKEN,
    "oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif": Reason.TRUNCATED,
    "truncated_image.png": Reason.TRUNCATED,
    "truncated_jpeg.jpg": Reason.TRUNCATED,
    "ultrahdr.jpg": Reason.TRUNCATED,  # ends behind the header of its first scan
    "Bad_clrsUsed.bmp": Reason.UNSUPPORTED_FORMAT,  # four thousand million palette entries
    "Bad_height.bmp": Reason.TOO_MANY_PIXELS,
    "Bad_reallybig.bmp": Reason.TOO_MANY_PIXELS,
    "Bad_shortfile.bmp": Reason.TRUNCATED,
    "Bad_width.bmp": Reason.TOO_MANY_PIXELS,
    "rle_overflow.bmp": Reason.BROKEN,
    "rgba32abf.bmp": Reason.UNSUPPORTED_FORMAT,
    "17000x17000.avif": Reason.TOO_MANY_PIXELS,
    "truncated.gif": Reason.TRUNCATED,
    "images__truncated.jpg": Reason.TRUNCATED,
}
SIZES = {  # upright, of some whose header or orientation invites a mistake
    "decompression_bomb_extents.gif": (100, 100),
    "hopper_orientation_8.webp": (128, 128),
    "sugarshack.mpo": (640, 480),
    "iss634.apng": (245, 245),
    "xmp_test.jpg": (2000, 1072),
}


def expected_reason(path: Path) -> Reason | None:
    if path.suffix.lower() in UNSUPPORTED_SUFFIXES:
        return Reason.UNSUPPORTED_FORMAT
    return next((reason for name, reason in REASONS.items() if path.name.endswith(name)), None)


@pytest.mark.skipif(not NASTY.is_dir(), reason="the shared nasty files are not beside this checkout")
def test_each_nasty_file_ends_as_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    paths = sorted(NASTY.iterdir())
    limits = {"memory_bytes": BUDGETS.child_memory_bytes, "item_s": BUDGETS.decode_s}
    with Sandbox("sandbox_tasks:view", **limits, context=BUDGETS) as sandbox:
        answers = list(sandbox.run([path.read_bytes() for path in paths]))

    assert len(answers) == len(paths)
    for path, answer in zip(paths, answers, strict=True):
        assert not isinstance(answer, Failure), (path.name, answer)
        facts, native, luma, peak_bytes = answer
        assert peak_bytes < 1_500_000_000, path.name
        reason = expected_reason(path)
        if reason is not None:
            assert isinstance(facts, Failure), path.name
            assert facts.reason is reason, (path.name, facts)
            assert native == luma == facts, path.name
            assert "\n" not in facts.detail
        else:
            assert not isinstance(facts, Failure), (path.name, facts)
            assert native == (facts.height_px, facts.width_px, 3)
            assert luma == (facts.height_px, facts.width_px)
            sizes = [size for name, size in SIZES.items() if path.name.endswith(name)]
            assert sizes in ([], [(facts.width_px, facts.height_px)])
