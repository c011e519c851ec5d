"""img2dataset: fetch a list of URLs, decode, sha256, sides; it has no perceptual hash and no duplicates.

Re-encoding is off: the least it can do and still look at the pixels. Run by its own interpreter.
"""

# mypy: ignore-errors
import json
import sys
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
from img2dataset import download


def main() -> None:
    listing, into = Path(sys.argv[1]), Path(sys.argv[2])
    download(
        url_list=str(listing),
        input_format="txt",
        output_folder=str(into),
        output_format="files",
        processes_count=1,
        thread_count=8,
        resize_mode="no",
        skip_reencode=True,
        compute_hash="sha256",
        number_sample_per_shard=10_000,
        retries=0,
    )
    rows = [row for table in sorted(into.glob("*.parquet")) for row in pq.read_table(table).to_pylist()]
    accepted = [Path(row["url"]).name for row in rows if row["status"] == "success"]
    print(json.dumps({"version": version("img2dataset"), "accepted": sorted(accepted)}))


if __name__ == "__main__":
    main()
