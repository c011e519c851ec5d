"""Write the sample set: every file from (seed, family, number), so that families do not disturb each other."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from filters.planted import layouts, plan
from filters.planted.edits import EDITS, Encoding, encode, fault_blur, fault_compression, fault_noise, flat_image
from filters.planted.hostile import truncate, write_hostile
from filters.planted.scenes import SCENES, photo
from filters.planted.truth import IMAGES_FOLDER, Domain, Planted, write_truth
from flywheel.records import Reason

Rng = np.random.Generator
Progress = Callable[[int, int], None]

_FAMILIES = (*plan.SHARES, "hostile", "series")


@dataclass(slots=True)
class _Set:
    """The set while it is being written: where, from which seed, and what is planted so far."""

    root: Path
    seed: int
    total: int
    progress: Progress | None
    planted: list[Planted] = field(default_factory=list)

    def rng(self, family: str, number: int) -> Rng:
        return np.random.default_rng([self.seed, _FAMILIES.index(family), number])

    def add(self, item: Planted, data: bytes) -> None:
        path = self.root / item.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.record(item)

    def record(self, item: Planted) -> None:
        self.planted.append(item)
        if self.progress is not None:
            self.progress(len(self.planted), self.total)


def render(
    root: Path, *, seed: int, images: int = plan.DEFAULT_IMAGES, progress: Progress | None = None
) -> list[Planted]:
    """Write `images` files under `root`/images and `root`/truth.jsonl; returns the truth in path order.

    The same seed, size and library versions give the same bytes. `progress(done, total)` is called after each file.
    Raises ValueError for fewer than 60 images, OSError where a codec or symlinks are missing.
    """
    counts = plan.counts(images)
    into = _Set(root=root, seed=seed, total=images, progress=progress)
    (root / IMAGES_FOLDER).mkdir(parents=True, exist_ok=True)
    _photos(into, counts["photo"])
    _posters(into, counts["poster"])
    _slides(into, counts["slide"])
    _others(into, counts)
    originals = [item for item in into.planted if _can_be_copied(item)]
    photos = [item for item in originals if item.domain == "photo"]
    layouts_ = [item for item in originals if item.domain in ("poster", "slide")]
    _near(into, "near_photo", photos, counts["near_photo"])
    _near(into, "near_layout", layouts_, counts["near_layout"])
    _exif(into, photos[::-1], counts["exif"])
    _exact(into, originals, counts["exact"])
    _rotated(into, counts["rotated"])
    _faults(into, counts)
    _truncated(into, counts["truncated"])
    for item in write_hostile(root, photo(into.rng("hostile", 0), 320, 240)):
        into.record(item)
    write_truth(root, into.planted)
    return sorted(into.planted, key=lambda item: item.path)


def _can_be_copied(item: Planted) -> bool:
    sides = (item.width_px or 0, item.height_px or 0)
    return min(sides) >= 400 and sides[0] * sides[1] <= 1_100_000 and item.domain != "design"


def _clean(
    into: _Set,
    family: str,
    number: int,
    domain: Domain,
    image: Image.Image,
    encoding: Encoding,
    series: str | None = None,
) -> None:
    path = f"{IMAGES_FOLDER}/{family}/{family}_{number:04d}{encoding.suffix}"
    item = Planted(path=path, family=family, domain=domain, series=series, width_px=image.width, height_px=image.height)
    into.add(item, encode(image, encoding))


def _photos(into: _Set, count: int) -> None:
    scenes = list(SCENES)
    for number in range(count):
        rng = into.rng("photo", number)
        image = photo(rng, *plan.any_size(rng), scene=scenes[number % len(scenes)])
        _clean(into, "photo", number, "photo", image, plan.clean_encoding(rng))


def _posters(into: _Set, count: int) -> None:
    """Series of one template; in every other series only the title and the foot differ."""
    sizes = ((600, 900), (720, 1020), (640, 640), (900, 600), (768, 1024))
    template, shared = None, None
    for number in range(count):
        series, rng = number // plan.POSTERS_A_SERIES, into.rng("poster", number)
        if template is None or number % plan.POSTERS_A_SERIES == 0:
            looks = into.rng("series", series)
            template = layouts.poster_template(looks, *sizes[series % len(sizes)])
            shared = layouts.poster_wording(looks) if series % 2 else None
        wording = layouts.poster_wording(rng)
        if shared is not None:
            wording = layouts.Wording(
                title=wording.title, subtitle=shared.subtitle, lines=shared.lines, foot=wording.foot
            )
        image = layouts.poster(template, wording)
        _clean(into, "poster", number, "poster", image, plan.clean_encoding(rng), f"poster_{series:02d}")


def _slides(into: _Set, count: int) -> None:
    for number in range(count):
        deck, rng = number // 4, into.rng("slide", number)
        size = ((1280, 720), (960, 720), (1024, 576))[deck % 3]
        image = layouts.slide(into.rng("series", 1000 + deck), *size, layouts.slide_wording(rng))
        _clean(into, "slide", number, "slide", image, plan.clean_encoding(rng), f"slide_{deck:02d}")


def _others(into: _Set, counts: dict[str, int]) -> None:
    for number in range(counts["diagram"]):
        rng = into.rng("diagram", number)
        size = ((1024, 768), (900, 600), (800, 800))[number % 3]
        _clean(into, "diagram", number, "diagram", layouts.diagram(rng, *size), plan.clean_encoding(rng))
    for number in range(counts["document"]):
        rng = into.rng("document", number)
        size = ((827, 1169), (700, 990), (1000, 1294))[number % 3]
        _clean(into, "document", number, "document", layouts.document(rng, *size), plan.clean_encoding(rng))
    for number in range(counts["design"]):
        rng = into.rng("design", number)
        odd = number < len(plan.ODD_ENCODINGS)
        encoding = plan.ODD_ENCODINGS[number] if odd else plan.clean_encoding(rng)
        size = ((512, 512), (800, 450), (640, 960))[number % 3]
        _clean(into, "design", number, "design", layouts.design(rng, *size), encoding)


def _opened(into: _Set, item: Planted) -> Image.Image:
    """The pixels as anybody would find them: after the original's own compression."""
    with Image.open(into.root / item.path) as image:
        return image.convert("RGB")


def _spread(originals: Sequence[Planted], count: int) -> Iterator[Planted]:
    """`count` originals: evenly over all of them while there are enough, else round and round."""
    have = len(originals)
    return (originals[k * have // count if count <= have else k % have] for k in range(count))


def _near(into: _Set, family: str, originals: Sequence[Planted], count: int) -> None:
    """Edited copies, the edits in turn, so that a second copy of one original bears another edit."""
    names = list(EDITS)
    for number, original in enumerate(_spread(originals, count)):
        rng, edit = into.rng(family, number), names[(number + number // len(originals)) % len(names)]
        image, encoding = EDITS[edit](rng, _opened(into, original))
        item = Planted(
            path=f"{IMAGES_FOLDER}/{family}/{family}_{number:04d}{encoding.suffix}",
            family=family,
            domain=original.domain,
            near_duplicate_of=original.path,
            edit=edit,
            width_px=image.width,
            height_px=image.height,
            series=original.series,
        )
        into.add(item, encode(image, encoding))


def _exif(into: _Set, originals: Sequence[Planted], count: int) -> None:
    """Copies stored turned or mirrored, each of the seven orientations in turn; upright they equal the original."""
    for number, original in enumerate(_spread(originals, count)):
        orientation = 2 + number % 7
        encoding = Encoding(quality=93, orientation=orientation)
        item = Planted(
            path=f"{IMAGES_FOLDER}/exif/exif_{number:04d}.jpg",
            family="exif",
            domain=original.domain,
            near_duplicate_of=original.path,
            edit="exif",
            exif_orientation=orientation,
            width_px=original.width_px,
            height_px=original.height_px,
        )
        into.add(item, encode(_opened(into, original), encoding))


def _exact(into: _Set, originals: Sequence[Planted], count: int) -> None:
    """The same bytes under other names, some in a nested folder."""
    for number, original in enumerate(_spread(originals[::-1], count)):
        folder = "exact" if number % 3 else "exact/mirror"
        item = Planted(
            path=f"{IMAGES_FOLDER}/{folder}/copy_{number:04d}{Path(original.path).suffix}",
            family="exact",
            domain=original.domain,
            exact_duplicate_of=original.path,
            width_px=original.width_px,
            height_px=original.height_px,
            series=original.series,
        )
        into.add(item, (into.root / original.path).read_bytes())


def _rotated(into: _Set, count: int) -> None:
    """Fresh pictures with an up and a down, turned by 90, 180 or 270 degrees without EXIF saying so."""
    for number in range(count):
        rng = into.rng("rotated", number)
        domain: Domain = "photo" if number % 2 else "document"
        if domain == "photo":
            upright = photo(rng, *plan.judged_size(rng), scene=("landscape", "seascape", "city")[number % 3])
        else:
            upright = layouts.document(rng, 700, 990)
        turn = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)[int(rng.integers(3))]
        image, path = upright.transpose(turn), f"{IMAGES_FOLDER}/rotated/rotated_{number:04d}.jpg"
        item = Planted(
            path=path,
            family="rotated",
            domain=domain,
            edit=turn.name.lower(),
            faults=frozenset({"rotated"}),
            width_px=image.width,
            height_px=image.height,
        )
        into.add(item, encode(image, Encoding(quality=90)))


def _faults(into: _Set, counts: dict[str, int]) -> None:
    """Fresh clean photos, each with one fault; no near duplicate of anything."""
    for fault in ("blur", "noise", "compression", "flat"):
        for number in range(counts[fault]):
            rng = into.rng(fault, number)
            size = plan.judged_size(rng)
            if fault == "flat":
                image, data, suffix, edit = _flat(rng, size, number)
            else:
                image = photo(rng, *size, scene=list(SCENES)[number % len(SCENES)])
                image, data, suffix, edit = _damaged(rng, fault, image, number)
            item = Planted(
                path=f"{IMAGES_FOLDER}/{fault}/{fault}_{number:04d}{suffix}",
                family=fault,
                domain="design" if fault == "flat" else "photo",
                edit=edit,
                faults=frozenset({fault}),
                width_px=image.width,
                height_px=image.height,
            )
            into.add(item, data)


def _flat(rng: Rng, size: tuple[int, int], number: int) -> tuple[Image.Image, bytes, str, str]:
    kind = number % 4
    image = flat_image(rng, *size, kind)
    encoding = Encoding(format=("JPEG", "PNG", "WEBP")[number % 3], quality=92)
    return (
        image,
        encode(image, encoding),
        encoding.suffix,
        ("one_colour", "gradient", "faint_noise", "almost_empty")[kind],
    )


def _damaged(rng: Rng, fault: str, image: Image.Image, number: int) -> tuple[Image.Image, bytes, str, str]:
    """Every fourth over-compressed picture is saved again at high quality: its tables no longer tell."""
    if fault == "compression":
        data = fault_compression(rng, image)
        if number % 4 != 3:
            return image, data, ".jpg", "jpeg"
        encoding = Encoding(format=("PNG", "JPEG")[number // 4 % 2], quality=92)
        with Image.open(io.BytesIO(data)) as again:
            return image, encode(again.convert("RGB"), encoding), encoding.suffix, "jpeg_saved_again"
    worse = fault_blur(rng, image) if fault == "blur" else fault_noise(rng, image)
    encoding = Encoding(format=("JPEG", "JPEG", "WEBP", "PNG")[number % 4], quality=int(rng.integers(85, 96)))
    return worse, encode(worse, encoding), encoding.suffix, fault


def _truncated(into: _Set, count: int) -> None:
    for number in range(count):
        rng = into.rng("truncated", number)
        encoding = Encoding(format=("JPEG", "PNG", "WEBP")[number % 3], quality=88, progressive=number % 2 == 1)
        whole = encode(photo(rng, 640, 480), encoding)
        path = f"{IMAGES_FOLDER}/truncated/truncated_{number:04d}{encoding.suffix}"
        item = Planted(path=path, family="truncated", domain="photo", expected=Reason.TRUNCATED.value)
        into.add(item, truncate(rng, whole))
