"""DataChain: the same as a map over the files of a folder, saved as a dataset. Run by its own interpreter."""

# mypy: ignore-errors
import hashlib
import io
import json
import sys
from pathlib import Path

import datachain as dc
import imagehash
from PIL import Image


class Measured(dc.DataModel):
    sha256: str = ""
    width: int = 0
    height: int = 0
    phash: str = ""


def measure(file: dc.File) -> Measured:
    data = file.read()
    digest = hashlib.sha256(data).hexdigest()
    try:
        image = Image.open(io.BytesIO(data))
        return Measured(sha256=digest, width=image.width, height=image.height, phash=str(imagehash.phash(image)))
    except OSError:
        return Measured(sha256=digest)


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    files = dc.read_storage(f"file://{folder}", type="binary", update=True).filter(dc.C("file.path").glob("*.jpg"))
    saved = files.map(m=measure).save("bench")
    accepted, seen = [], set()
    for path, digest, phash in sorted(saved.to_list("file.path", "m.sha256", "m.phash")):
        if phash and digest not in seen:
            accepted.append(Path(path).name)
            seen.add(digest)
    print(json.dumps({"version": dc.__version__, "accepted": accepted}))


if __name__ == "__main__":
    main()
