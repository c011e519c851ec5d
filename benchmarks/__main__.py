"""`python -m benchmarks [NAME…]`: run benchmarks (all without a name), print their verdicts, write their results."""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from benchmarks import figures

NAMES = (
    *("startup", "speed", "memory", "peers", "funnel", "again", "scale", "kills"),
    *("search", "embedding", "captions", "kinds", "trainer", "drawing", "pays"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--into", type=Path, default=figures.RESULTS, help="folder of the results")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    missed = 0
    for name in chosen.names or NAMES:
        with tempfile.TemporaryDirectory(prefix="flywheel-bench-") as place:
            findings = import_module(f"benchmarks.{name}").run(Path(place))
        written = figures.write(name, findings, chosen.into)
        sys.stdout.write(f"{figures.printed(findings)}\n  written to {written.name}\n\n")
        sys.stdout.flush()
        missed += sum(figure.verdict == "MISSED" for figure in findings.figures)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
