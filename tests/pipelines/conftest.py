"""One Ray for all tests of a session; worker functions importable by name; steps worked in this process."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flywheel.errors import FlywheelError
from flywheel.workspace import Workspace, runs
from pipelines.executors import Answers, Batch, Task
from pipelines.judging import init_workspace


@pytest.fixture(scope="session", autouse=True)
def importable_tasks() -> Iterator[None]:
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


@pytest.fixture(scope="session")
def ray_cluster(importable_tasks: None) -> Iterator[None]:
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
