"""Daft: sha256, exact duplicates, sides and perceptual hash of a folder. Run by Daft's own interpreter."""

# mypy: ignore-errors
import hashlib
import json
import sys
from pathlib import Path

import daft
import daft.functions as f
from daft import col


@daft.func(return_dtype=daft.DataType.string())
def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    frame = daft.from_glob_path(f"{folder}/*.jpg")
    frame = frame.with_column("bytes", f.download(col("path"), on_error="null"))
    frame = frame.with_column("sha256", sha256(col("bytes")))
    frame = frame.with_column("image", f.decode_image(col("bytes"), on_error="null", mode="RGB"))
    frame = frame.with_column("width", f.image_width(col("image"))).with_column("height", f.image_height(col("image")))
    frame = frame.with_column("phash", f.image_hash(col("image"), method="phash"))
    rows = frame.select("path", "sha256", "width", "height", "phash").to_pydict()
    accepted, seen = [], set()
    for path, digest, width in sorted(zip(rows["path"], rows["sha256"], rows["width"], strict=True)):
        if width is not None and digest not in seen:
            accepted.append(Path(path).name)
            seen.add(digest)
    print(json.dumps({"version": daft.__version__, "accepted": accepted}))


if __name__ == "__main__":
    main()
