"""A real vLLM over real HTTP: guided JSON, trouble, the caption job through a server that is killed."""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from benchmarks.vllm_server import MODEL
from captioners import CAPTIONERS
from flywheel.encoders.server import ServerSettings
from flywheel.encoders.vlm import Ask, Refused, Told
from flywheel.encoders.vlm_local import local_vlm
from flywheel.encoders.vlm_server import ServerVlm
from flywheel.workspace import Workspace
from model.miniature.sorts import SORTS
from pipelines import captioning
from pipelines.executors import executor
from pipelines.ingest import ingest
from pipelines.judging import init_workspace, open_workspace
from pipelines.measure import measure

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]
WAITS_S = 900.0


@pytest.fixture
def model(vllm: Any) -> Iterator[ServerVlm]:
    client = ServerVlm(ServerSettings(urls=(vllm.url,), model=MODEL, in_flight=32, max_wait_s=WAITS_S))
    yield client
    client.close()


def pictures(number: int) -> list[bytes]:
    rng, drawn = np.random.default_rng(4), []
    for at in range(number):
        sort = list(SORTS.values())[at % len(SORTS)]
        held = io.BytesIO()
        sort.picture(sort.sample(rng), 96, at).save(held, "PNG")
        drawn.append(held.getvalue())
    return drawn


def asks(number: int, temperature: float = 0.0) -> list[Ask]:
    kinds = [CAPTIONERS[name] for name in ("general", "text", "structured")]
    return [
        Ask(
            image=picture,
            prompt=kind.asks["brief"],
            schema=kind.schema,
            max_tokens=300,
            temperature=temperature,
            seed=at,
        )
        for at, picture in enumerate(pictures(number))
        for kind in kinds
    ]


def test_every_answer_that_ended_by_itself_is_valid_and_every_other_is_accounted_for(
    model: ServerVlm, silent: Callable[[str], None]
) -> None:
    asked = asks(334, temperature=1.0)
    assert len(asked) > 1000
    answers = model.answers(asked, silent)
    assert len(answers) == len(asked)
    ended = [
        (ask, told)
        for ask, told in zip(asked, answers, strict=True)
        if isinstance(told, Told) and told.finish == "stop"
    ]
    cut = [told for told in answers if isinstance(told, Told) and told.finish == "length"]
    assert len(ended) + len(cut) == len(asked)
    assert len(ended) > 0.9 * len(asked)
    for ask, told in ended:
        Draft202012Validator(dict(ask.schema or {})).validate(json.loads(told.text, strict=False))


def test_the_server_writes_what_the_same_weights_write_in_this_process(
    model: ServerVlm, captioner_weights: Path, silent: Callable[[str], None]
) -> None:
    asked = asks(10)
    served = [told.text for told in model.answers(asked, silent) if isinstance(told, Told)]
    here = [told.text for told in local_vlm(captioner_weights).answers(asked, silent) if isinstance(told, Told)]
    same = sum(one == other for one, other in zip(served, here, strict=True))
    assert same >= 0.95 * len(asked)  # the last bits of a logit may fall either way


def test_a_picture_that_cannot_be_decoded_is_refused_and_the_next_is_not(
    model: ServerVlm, silent: Callable[[str], None]
) -> None:
    (good,) = asks(1)[:1]
    broken = Ask(image=b"\x89PNG\r\n\x1a\nbroken", prompt="x", schema=None, max_tokens=5)
    answers = model.answers([good, broken, good], silent)
    assert isinstance(answers[1], Refused)
    assert isinstance(answers[0], Told)
    assert isinstance(answers[2], Told)


@pytest.fixture
def curated(tmp_path: Path) -> Callable[..., Workspace]:
    """Pictures of the world, measured, in a workspace whose captioner are these servers."""

    def made(*urls: str, **settings: float) -> Workspace:
        folder = tmp_path / "images"
        folder.mkdir()
        for at, picture in enumerate(pictures(60)):
            (folder / f"{at}.png").write_bytes(picture)
        location = tmp_path / "workspace"
        init_workspace(str(location))
        config = location / "flywheel.toml"
        text = config.read_text().replace("[captioner]", 'foreign = "none"\n\n[captioner]')
        said = {"urls": json.dumps(urls), "served_as": f'"{MODEL}"', "max_wait_s": WAITS_S} | settings
        for name, value in said.items():
            text, found = re.subn(rf"^{name} = .*?(?=\s+#|$)", f"{name} = {value}", text, flags=re.MULTILINE)
            assert found == 1, name
        config.write_text(text)
        workspace = open_workspace(str(location))
        ingest(workspace, [str(folder)], executor("local", 1), _quiet)
        measure(workspace, "native", executor("local", 1), _quiet)
        return workspace

    return made


def test_the_job_waits_for_a_server_that_is_killed_and_loses_nothing(
    curated: Callable[..., Workspace], vllm: Any, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = curated(vllm.url)

    def killed_and_restarted() -> None:
        vllm.stop()
        vllm.start(wait=False)

    timer = threading.Timer(2.0, killed_and_restarted)
    timer.start()
    report = captioning.caption(workspace, executor("local", 2), _quiet, kinds=["general", "structured"])
    timer.join()
    vllm.wait()
    assert report.counts["in"] > 100  # two kinds of all that the rules without captions have let through
    assert report.counts["captioned"] + report.counts.get("quarantined", 0) == report.counts["in"]
    assert "rejected" not in report.counts
    keys = workspace.query("SELECT image_id, kind FROM captions").to_pylist()
    assert len(keys) == len({(row["image_id"], row["kind"]) for row in keys}) == report.counts["captioned"]
    assert vllm.url in caplog.text
    assert captioning.caption(workspace, executor("local", 2), _quiet, kinds=["general", "structured"]).run_id is None


def test_the_job_gets_past_stumbles_slow_answers_and_a_replica_that_dies(
    curated: Callable[..., Workspace], vllm: Any, forward: Callable[..., Any]
) -> None:
    """Two doors to the same vLLM: one stumbles and dawdles, the other dies in mid-run and comes back."""
    poor = forward(lambda number: (503, 0.0) if number % 5 == 2 else (None, 12.0 if number % 20 == 7 else 0.0))
    mortal = forward(lambda number: (None, 0.0))
    workspace = curated(poor.url, mortal.url, in_flight=8, timeout_s=10.0)
    seen_before: list[int] = []
    over = threading.Event()

    def dies_and_comes_back() -> None:
        while len(mortal.bodies) < 4 and not over.wait(
            0.1
        ):  # how long a run takes to its first request, no clock tells
            pass
        mortal.stop()
        seen_before.append(len(mortal.bodies))
        time.sleep(2.0)
        mortal.start()

    death = threading.Thread(target=dies_and_comes_back)
    death.start()
    try:
        report = captioning.caption(workspace, executor("local", 2), _quiet, kinds=["general", "structured"])
    finally:
        over.set()
        death.join()
    assert report.counts["captioned"] + report.counts.get("quarantined", 0) == report.counts["in"] > 100
    keys = workspace.query("SELECT image_id, kind FROM captions").to_pylist()
    assert len(keys) == len({(row["image_id"], row["kind"]) for row in keys}) == report.counts["captioned"]
    assert len(poor.bodies) > 8
    assert len(mortal.bodies) > seen_before[0] > 0  # it was asked before and is asked again


def _quiet(step: str, done: int, total: int | None, counts: object) -> None: ...
