"""The same files through Flywheel and through its peers, each in a throw-away environment of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks import inputs, meter
from benchmarks.figures import Figure, Findings

IMAGES, CUT, EXACT = 2_000, 50, 50
FEW = 8
REPEATS = 3
TARGET = 3.0
JOBS = Path(__file__).parent / "jobs"
INSTALL_S = 600.0
WHY = (
    "What an image costs Flywheel on the machine of the first figures: 2.3 of 4.1 ms are the JPEG decode at a quarter of the size (1.8 of it "
    "Huffman decoding, which every reader of the file pays), 0.7 the measures, 0.1 the hash, 1.0 the child, the driver and the tables. The whole decode "
    "of DataChain's and img2dataset's readers takes 3.6 ms there. Tried: a decode at an eighth (the measures need 224 px), OpenCV's decoder "
    "(as fast), no cyclic garbage collection (no gain), keeping malloc's pages (a tenth less, taken)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What is installed, and the script that does the job, or what the peer can do of it.

    `serves`: it reads URLs, not files. `whole`: it does the whole job, perceptual hash and duplicates included.
    """

    name: str
    packages: tuple[str, ...]
    job: str
    serves: bool = False
    whole: bool = True


PEERS = (
    Peer(name="Daft", packages=("daft", "numpy"), job="daft_job.py"),
    Peer(name="DataChain", packages=("datachain", "imagehash", "pillow"), job="datachain_job.py"),
    # Of the packages it does not bound, these majors no longer have what its last release imports.
    Peer(
        name="img2dataset",
        packages=("img2dataset", "setuptools<81"),
        job="img2dataset_job.py",
        serves=True,
        whole=False,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One program over all files: `further` is the rate of each further image, start-up taken off."""

    name: str
    version: str
    does_all: bool
    whole: float
    further: float
    cost: meter.Cost
    bad_kept: int
    copies_kept: int
    good_lost: int


def run(place: Path) -> Findings:
    """Trials in turn; a peer that cannot be installed or run is named with its reason."""
    paths = inputs.photos(place / "files", IMAGES)
    inputs.cut(paths, CUT)
    for number, path in enumerate(paths[-EXACT:]):
        path.with_name(f"twin-{number:03}.jpg").write_bytes(path.read_bytes())
    inputs.photos(place / "few", FEW)
    trials, skipped = [_ours(place)], []
    for peer in PEERS:
        try:
            trials.append(_theirs(peer, place))
        except (meter.CommandFailed, subprocess.TimeoutExpired) as error:
            skipped.append(f"{peer.name} was skipped: {_one_line(str(error), place)}")
    return Findings(
        title="Side by side with peers",
        how=_how(),
        figures=_figures(trials),
        below=["\n".join(_table(trials)), WHY, *skipped],
    )


def _how() -> str:
    return (
        f"{IMAGES} generated JPEGs of 1.2 megapixels, {EXACT} exact copies and {CUT} truncated files in one folder. The job: sha256, exact "
        "duplicates, sides, perceptual hash, nothing cut accepted. Flywheel is the whole command `flywheel ingest`: besides the job it decodes "
        "in a killable child, measures tone, JPEG quality, orientation and text density, and commits Delta tables. img2dataset "
        "fetches from a loopback server (its cost is not counted) and does neither perceptual hash nor duplicates. "
        f"Processor seconds of all processes, median of {REPEATS}; `each further image` takes off a run over {FEW} images."
    )


def _figures(trials: Sequence[Trial]) -> list[Figure]:
    ours, peers = trials[0], [trial for trial in trials[1:] if trial.does_all]
    figures = [
        Figure(
            name=f"{trial.name} {trial.version}: whole command",
            measured=trial.whole,
            unit="images/CPU-s",
            note="" if trial.does_all else "a part of the job",
        )
        for trial in trials
    ]
    ratios: list[tuple[str, Callable[[Trial], float]]] = [
        ("whole command", lambda trial: trial.whole),
        ("each further image", lambda trial: trial.further),
    ]
    for said, rate in ratios if peers else []:
        fastest = max(peers, key=rate)
        name = f"times the fastest peer that does the job ({fastest.name}), {said}"
        figures.append(Figure(name=name, measured=rate(ours) / rate(fastest), unit="x", target=TARGET))
    return figures


def _table(trials: Sequence[Trial]) -> list[str]:
    head = "| program | images/CPU-s | each further image | wall s | peak MB | truncated kept | copies kept | good ones lost |"
    rows = [
        f"| {t.name} {t.version} | {t.whole:.0f} | {t.further:.0f} | {t.cost.wall_s:.1f} | {t.cost.peak_mb:.0f} "
        f"| {t.bad_kept} of {CUT} | {t.copies_kept} of {EXACT} | {t.good_lost} |"
        for t in trials
    ]
    return [head, "|---|---|---|---|---|---|---|---|", *rows]


def _trial(name: str, does_all: bool, once: Callable[[str], tuple[meter.Cost, str, list[str]]]) -> Trial:
    """`once` runs the job over one of the two folders and tells its cost, version and accepted files."""
    runs = sorted((once("files") for _ in range(REPEATS)), key=lambda run: run[0].cpu_s)
    few = sorted(once("few")[0].cpu_s for _ in range(REPEATS))[REPEATS // 2]
    cost, version, accepted = runs[REPEATS // 2]
    total = IMAGES + CUT + EXACT
    good = {f"{number:05}.jpg" for number in range(IMAGES)}
    # Which of two equal files is called the first is the program's choice.
    twins = {f"twin-{number:03}.jpg": f"{IMAGES - EXACT + number:05}.jpg" for number in range(EXACT)}
    kept = [twins.get(file, file) for file in accepted]
    return Trial(
        name=name,
        version=version,
        does_all=does_all,
        whole=total / cost.cpu_s,
        further=(total - FEW) / max(1e-3, cost.cpu_s - few),
        cost=cost,
        bad_kept=sum(file.startswith("cut-") for file in kept),
        copies_kept=sum(kept.count(file) > 1 for file in twins.values()),
        good_lost=len(good - set(kept)),
    )


def _ours(place: Path) -> Trial:
    from flywheel import __version__
    from pipelines.judging import open_workspace

    runs = iter(range(1000))

    def once(folder: str) -> tuple[meter.Cost, str, list[str]]:
        workspace = place / f"ws-{next(runs)}"
        meter.run(meter.flywheel("init", "-w", str(workspace), "--profile", "cpu"))
        cost = meter.run(meter.flywheel("ingest", str(place / folder), "-w", str(workspace)))
        uris = open_workspace(str(workspace)).query("SELECT uri FROM images")["uri"].to_pylist()
        return cost, __version__, [Path(uri).name for uri in uris]

    return _trial("Flywheel", True, once)


def _theirs(peer: Peer, place: Path) -> Trial:
    python = _installed(peer, place / f"env-{peer.name}")
    runs = iter(range(1000))

    def once(folder: str) -> tuple[meter.Cost, str, list[str]]:
        room = place / f"{peer.name}-{next(runs)}"
        room.mkdir()
        server: subprocess.Popen[bytes] | None = None
        arguments = [str(place / folder)]
        if peer.serves:
            server, address = _serve(place / folder)
            listing = room / "urls.txt"
            listing.write_text("".join(f"{address}/{path.name}\n" for path in sorted((place / folder).iterdir())))
            arguments = [str(listing), str(room / "out")]
        try:
            cost = meter.run([str(python), str(JOBS / peer.job), *arguments], _quiet(room), room)
        finally:
            if server is not None:
                server.kill()
                server.wait()
        marker = cost.output.rfind('{"version"')  # progress bars may share its line
        if marker < 0:
            raise meter.CommandFailed(f"it gave no answer: {cost.output.strip()[-200:]}")
        said = json.loads(cost.output[marker:].splitlines()[0])
        return cost, said["version"], said["accepted"]

    return _trial(peer.name, peer.whole, once)


def _installed(peer: Peer, environment: Path) -> Path:
    """A new virtual environment with the peer in it. Raises CommandFailed, TimeoutExpired."""
    python = environment / "bin" / "python"
    commands = [
        [sys.executable, "-m", "venv", str(environment)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.packages],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if done.returncode:
            raise meter.CommandFailed(f"it could not be installed: {(done.stderr or done.stdout).strip()[-300:]}")
    return python


def _quiet(room: Path) -> dict[str, str]:
    """No telemetry, no progress bars, no state outside the throw-away folder."""
    return os.environ | {
        "HOME": str(room),
        "DATACHAIN_ROOT_DIR": str(room / ".datachain"),
        "DO_NOT_TRACK": "1",
        "DAFT_ANALYTICS_ENABLED": "0",
        "DAFT_PROGRESS_BAR": "0",
        "DATACHAIN_NO_ANALYTICS": "1",
        "DVC_NO_ANALYTICS": "1",
        "WANDB_MODE": "disabled",
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }


def _serve(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A loopback HTTP server over a folder, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    for _ in range(100):
        with suppress(OSError), urllib.request.urlopen(address, timeout=5):
            break
        time.sleep(0.1)
    return server, address


def _one_line(text: str, place: Path) -> str:
    return " ".join(text.replace(str(place), "").split())[-300:]
