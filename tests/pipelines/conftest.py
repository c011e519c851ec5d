"""One Ray for all tests of a session; steps worked in this process; weights that were never trained."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from flywheel.errors import FlywheelError
from flywheel.workspace import Workspace, runs
from model.miniature.build.contrast import EMBED, new_clip, save_clip
from model.miniature.build.tokenizer import world_tokenizer
from pipelines.executors import Answers, Batch, Task
from pipelines.ingest import ingest
from pipelines.judging import init_workspace, open_workspace
from pipelines.measure import measure

sys.path.insert(0, str(Path(__file__).parent))  # workers import their tasks by name

from in_process import InProcess


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local cluster, as the executor starts it, for all that need one."""
    import ray

    from pipelines.executors.ray_data import connect

    os.environ.pop("RAY_ADDRESS", None)
    connect(2)
    yield
    ray.shutdown()


class Direct:
    """Works every item in this process: for tests of what happens around the work. `amiss` answers some of them."""

    workers = 1

    def __init__(self, amiss: Callable[[object], object] = lambda _: None) -> None:
        self.amiss = amiss

    def map(
        self, task: Task | None, batches: Iterable[Batch], on_wait: Callable[[], None]
    ) -> Iterator[tuple[Batch, Answers]]:
        assert task is not None
        module, _, name = task.item.partition(":")
        function = getattr(import_module(module), name)
        for batch in batches:
            yield batch, [self.amiss(item) or function(item, task.context) for item in batch]


@pytest.fixture
def direct() -> type[Direct]:
    return Direct


@pytest.fixture
def small(tmp_path: Path) -> Workspace:
    """A workspace with micro-batches of two."""
    workspace = init_workspace(str(tmp_path / "ws"), "cpu")
    config = workspace.path / "flywheel.toml"
    config.write_text(config.read_text().replace("micro_batch = 256", "micro_batch = 2"))
    return workspace


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[[str, int], Path]:
    """Makes a folder of so many small pictures, each unlike any other."""
    made = iter(range(1_000))

    def make(name: str, count: int) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for number in range(count):
            pixels = np.random.default_rng(next(made)).integers(0, 255, (9, 9, 3), np.uint8)
            Image.fromarray(pixels).resize((272, 272)).save(folder / f"{number}.png")
        return folder

    return make


class Killed(BaseException):
    """What a SIGKILL looks like to the tables: nothing that ends a run in good order catches it."""


@pytest.fixture
def die_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, Callable[[], object]], None]:
    """Lets a call die right before its n-th append to a table; its driver counts as dead afterwards."""
    from flywheel.workspace.tables import FencedTable

    def run(table: str, nth: int, call: Callable[[], object]) -> None:
        whole, left = FencedTable.append, nth

        def append(self: FencedTable, rows: object) -> None:
            nonlocal left
            left -= self._name == table and bool(rows.num_rows)  # type: ignore[attr-defined]
            if left < 0:
                raise Killed
            whole(self, rows)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(FencedTable, "append", append)
            with pytest.raises(Killed):
                call()
        monkeypatch.setattr(runs, "_alive", lambda *_: False)

    return run


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Lets something else happen after the next run was planned and before it starts."""
    start = runs.start

    def arrange(other: Callable[[], object]) -> None:
        def later(*arguments: object, **named: object) -> runs.Run:
            monkeypatch.setattr(runs, "start", start)
            try:
                other()
            except FlywheelError as error:
                pytest.fail(f"the other driver was refused: {error}")
            return start(*arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(runs, "start", later)

    return arrange


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the right shape that were never trained."""
    home = tmp_path_factory.mktemp("weights")
    tokenizer = world_tokenizer()
    save_clip(new_clip(tokenizer, 5), tokenizer, home / "clip-test-1")
    rng = np.random.default_rng(0)
    for name in ("aesthetic", "nsfw", "watermark"):
        head = {"weight": rng.normal(size=(1, EMBED)).astype(np.float32), "bias": np.array([3.0], np.float32)}
        save_file(head, home / f"{name}-test-1.safetensors")
    save_file(
        {"weight": np.zeros((1, EMBED), np.float32), "bias": np.array([9.0], np.float32)},
        home / "all-foreign.safetensors",
    )
    (home / "captioner-test-1").mkdir()
    return home


@pytest.fixture
def bench(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Six small images, ingested and measured, in a workspace that names the test weights."""
    monkeypatch.setenv("FLYWHEEL_MODELS", str(weights))
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for at in range(6):
        noise = rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC).save(folder / f"{at}.png")
        (folder / f"{at}.txt").write_text(f"a caption of picture {at}")
    (folder / "0.json").write_text(json.dumps({"facts": {"name": "Velmora"}}))
    location = tmp_path / "workspace"
    init_workspace(str(location))
    config = location / "flywheel.toml"
    text = config.read_text().replace("[captioner]\n", NAMED + "\n[captioner]\n")
    config.write_text(text.replace("asks = 3", "asks = 2"))
    workspace = open_workspace(str(location))
    ingest(workspace, [str(folder)], InProcess(), lambda *_: None)  # type: ignore[arg-type]
    measure(workspace, "native", InProcess(), lambda *_: None)  # type: ignore[arg-type]
    return workspace


NAMED = """clip = "clip-test-1"
aesthetic = "aesthetic-test-1"
nsfw = "nsfw-test-1"
watermark = "watermark-test-1"
foreign = "none"
captioner = "captioner-test-1"
"""
