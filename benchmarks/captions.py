"""The caption job against vLLM's own load generator: the same server, images, words, schema and number in flight.

Needs the environment that `make test-vllm` sets up.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.figures import Figure, Findings
from benchmarks.vllm_server import MODEL, VENV, VllmServer
from captioners import CAPTIONERS
from flywheel.workspace import Workspace
from model.miniature.sorts import SORTS
from pipelines import captioning
from pipelines.captioner import captioner_of
from pipelines.executors import executor
from pipelines.ingest import ingest
from pipelines.judging import init_workspace, open_workspace
from pipelines.measure import measure
from pipelines.profiles import find_weights

PICTURES, TURNS, SIDE_PX, IN_FLIGHT, KIND = 1500, 3, 128, 32, "general"
SHARE = 0.95


def run(place: Path) -> Findings:
    """Requests a second of both, in turns, after a warm-up: a machine's speed drifts by more than the two differ."""
    weights = find_weights("captioner-miniature-1")
    if weights is None or not (VENV / "bin" / "vllm").exists():
        missing = Figure(name="the job, of vllm bench", measured=None, unit="", note="make test-vllm sets vLLM up")
        return Findings(title="Captions through vLLM", how="", figures=[missing])
    _pictures(place / "images")
    server = VllmServer(weights, place / "vllm.log")
    server.start()
    try:
        _bench(server, place, 64)
        peers, jobs = [], []
        for turn in range(TURNS):
            peers.append(_bench(server, place, PICTURES))
            jobs.append(_job(server, place, turn))
    finally:
        server.stop()
    shares = [job / peer for job, peer in zip(jobs, peers, strict=True)]
    spread = f"in turns: {', '.join(f'{share:.2f}' for share in shares)}"
    figures = [
        Figure(name="the job, of vllm bench serve", measured=median(shares), unit="", target=SHARE, note=spread),
        Figure(name="the job", measured=median(jobs), unit="requests/s", note=f"at best {max(jobs):.1f}"),
        Figure(name="vllm bench serve", measured=median(peers), unit="requests/s", note=f"at best {max(peers):.1f}"),
    ]
    how = f"{PICTURES} pictures, kind {KIND}, {IN_FLIGHT} in flight, the miniature's captioner on the same cores; medians of {TURNS} turns. The job's clock runs from its plan to its last committed row."
    return Findings(title="Captions through vLLM", how=how, figures=figures)


def _pictures(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(4)
    for at in range(PICTURES):
        SORTS["scene"].picture(SORTS["scene"].sample(rng), SIDE_PX, at).save(folder / f"{at:04}.png")


def _bench(server: VllmServer, place: Path, number: int) -> float:
    """vLLM's own client."""
    kind, asked = CAPTIONERS[KIND], place / "asked.jsonl"
    lines = [
        {"content": [{"type": "image", "image": str(path)}, {"type": "text", "text": kind.asks["brief"]}]}
        for path in sorted((place / "images").iterdir())[:number]
    ]
    asked.write_text("".join(json.dumps(line) + "\n" for line in lines))
    schema = {"name": "answer", "schema": kind.schema, "strict": True}
    extra = {"response_format": {"type": "json_schema", "json_schema": schema}, "temperature": 0.0}
    command: list[str] = [
        *(str(VENV / "bin" / "vllm"), "bench", "serve", "--backend", "openai-chat"),
        *("--base-url", server.url.removesuffix("/v1"), "--endpoint", "/v1/chat/completions"),
        *("--model", MODEL, "--tokenizer", str(find_weights("captioner-miniature-1")), "--num-prompts", str(number)),
        *("--dataset-name", "custom_image", "--dataset-path", str(asked), "--custom-ensure-client-side-data"),
        *("--custom-output-len", str(kind.max_tokens), "--max-concurrency", str(IN_FLIGHT)),
        *("--extra-body", json.dumps(extra), "--save-result", "--result-filename", str(place / "bench.json")),
    ]
    env = os.environ | {"PYTHONPATH": server.shim, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"vllm bench serve: {done.stderr[-800:]}")
    return float(json.loads((place / "bench.json").read_text())["request_throughput"])


def _job(server: VllmServer, place: Path, turn: int) -> float:
    """Flywheel's."""
    opened = _workspace(place / f"workspace-{turn}", server, place / "images")
    captioner = captioner_of(opened)
    assert captioner is not None
    report = captioning.caption(opened, executor("local", 2), _quiet, kinds=[KIND])
    (run,) = opened.query(f"SELECT wall_s FROM runs WHERE run_id = '{report.run_id}'").to_pylist()
    return float(report.counts[f"{KIND}:asked"] / run["wall_s"])


def _workspace(location: Path, server: VllmServer, images: Path) -> Workspace:
    init_workspace(str(location), "miniature")
    config = location / "flywheel.toml"
    text = config.read_text().replace("urls = []  ", f'urls = ["{server.url}"]  ')
    text = text.replace('served_as = ""', f'served_as = "{MODEL}"').replace(
        "in_flight = 64 ", f"in_flight = {IN_FLIGHT} "
    )
    config.write_text(text.replace("[captioner]", 'foreign = "none"\n\n[captioner]'))
    opened = open_workspace(str(location))
    ingest(opened, [str(images)], executor("local", 2), _quiet)
    measure(opened, "native", executor("local", 2), _quiet)
    return opened


def _quiet(step: str, done: int, total: int | None, counts: object) -> None: ...
