"""A child may die of one item; its neighbours, their order and the driver never notice."""

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flywheel.images import sandbox as sandbox_module
from flywheel.images.process import SandboxFailed
from flywheel.images.sandbox import Sandbox
from flywheel.records import Budgets, Failure, Reason

LIMIT_BYTES = 512 << 20
# What each fatal item ends as.
FATAL = {
    "exit": Reason.DECODER_DIED,
    "segfault": Reason.DECODER_DIED,
    "eat": Reason.DECODER_DIED,
    "memory error": Reason.DECODER_DIED,
    "sleep": Reason.DECODER_TIMED_OUT,
    "spin": Reason.DECODER_TIMED_OUT,
    "raise": Reason.SCORER_FAILED,
    "unpicklable": Reason.SCORER_FAILED,
}


@pytest.fixture(autouse=True)
def importable_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def sandbox_of(task: str, item_s: float = 20.0, memory_bytes: int | None = LIMIT_BYTES, context: object = None):
    return Sandbox(f"sandbox_tasks:{task}", memory_bytes=memory_bytes, item_s=item_s, context=context)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


@pytest.mark.parametrize("fatal", sorted(FATAL))
def test_only_the_guilty_item_fails(fatal: str) -> None:
    items = ["a", "b", fatal, "c", "d", "e"]
    item_s = 2.0 if FATAL[fatal] is Reason.DECODER_TIMED_OUT else 60.0
    with sandbox_of("act", item_s=item_s, context=7) as sandbox:
        answers = list(sandbox.run(items))
    assert [answers[at] for at in (0, 1, 3, 4, 5)] == [(item, 7) for item in "abcde"]
    assert isinstance(answers[2], Failure)
    assert answers[2].reason is FATAL[fatal]


def test_details_say_what_happened() -> None:
    with sandbox_of("act", item_s=60.0) as sandbox:
        details = [answer.detail for answer in sandbox.run(["exit", "segfault", "eat", "raise"])]
    with sandbox_of("act", item_s=1.0) as sandbox:
        details += [answer.detail for answer in sandbox.run(["sleep"])]
    assert details == [
        "the decode process ended with status 3",
        "the decode process was killed by SIGSEGV",
        "the decode process ran out of memory",
        "KeyError: 'an odd row'",
        "no answer within 1 s",
    ]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(st.sampled_from(["a", "b", "c", "d", "e", "large", "raise", "exit", "memory error"]), max_size=9))
def test_any_pattern_of_deaths_keeps_order_and_blame(items: list[str]) -> None:
    with sandbox_of("act") as sandbox:
        answers = list(sandbox.run(items))
    assert len(answers) == len(items)
    for item, answer in zip(items, answers, strict=True):
        if item in FATAL:
            assert isinstance(answer, Failure)
            assert answer.reason is FATAL[item]
        elif item == "large":
            assert answer == bytes(20 << 20)
        else:
            assert answer == (item, None)


def test_a_death_of_accumulated_state_blames_nobody() -> None:
    with sandbox_of("tires") as sandbox:
        assert list(sandbox.run(list(range(8)))) == list(range(8))


def test_one_child_serves_many_runs_and_starts_late() -> None:
    before = children()
    with sandbox_of("pid") as sandbox:
        assert children() == before
        assert list(sandbox.run([])) == []
        assert children() == before
        pids = {answer for _ in range(3) for answer in sandbox.run([1, 2])}
        assert len(pids) == 1
    assert children() == before


def test_a_child_is_replaced_after_enough_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_module, "RECYCLE_AFTER", 3)
    with sandbox_of("pid") as sandbox:
        pids = list(sandbox.run(list(range(7))))
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_a_child_killed_while_idle_blames_nobody() -> None:
    with sandbox_of("pid") as sandbox:
        (first,) = sandbox.run([1])
        psutil.Process(first).kill()
        psutil.Process(first).wait(5)
        (second,) = sandbox.run([1])
    assert isinstance(second, int)
    assert second != first


def test_answers_of_an_abandoned_run_do_not_reach_the_next() -> None:
    with sandbox_of("act") as sandbox:
        run = sandbox.run(["a", "b", "c", "d"])
        assert next(run) == ("a", None)
        assert list(sandbox.run(["x", "y"])) == [("x", None), ("y", None)]
        del run
        gc.collect()
        assert list(sandbox.run(["z"])) == [("z", None)]


def test_large_items_and_large_answers_do_not_block_each_other() -> None:
    items = [bytes([at]) * (8 << 20) for at in range(6)]
    with sandbox_of("act") as sandbox:
        assert [answer[0] for answer in sandbox.run(items)] == items


def test_a_slow_driver_is_no_timeout() -> None:
    answers = []
    with sandbox_of("act", item_s=1.0) as sandbox:
        for answer in sandbox.run(["large", bytes(4 << 20), "a", ("nap", 0.2)]):
            time.sleep(1.2)
            answers.append(answer)
    assert not [answer for answer in answers if isinstance(answer, Failure)]


def test_each_item_has_the_whole_time() -> None:
    naps = [("nap", 0.4)] * 4
    with sandbox_of("act", item_s=1.2) as sandbox:
        assert [answer[0] for answer in sandbox.run(naps)] == naps


def test_a_sandbox_may_be_used_from_a_driver_with_threads() -> None:
    answers: list[object] = []

    def drive() -> None:
        with sandbox_of("act") as sandbox:
            answers.extend(sandbox.run(["a", "exit", "b"]))

    threads = [threading.Thread(target=drive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        sorted(str(answer) for answer in answers if not isinstance(answer, Failure))
        == ["('a', None)"] * 2 + ["('b', None)"] * 2
    )


def test_limits_and_single_threads_reach_the_child() -> None:
    with sandbox_of("environment") as sandbox:
        assert list(sandbox.run([1])) == [["1", "1", LIMIT_BYTES, 0]]


def test_ctrl_c_is_left_to_the_driver() -> None:
    with sandbox_of("interrupted") as sandbox:
        assert list(sandbox.run([1, 2])) == [1, 2]


@pytest.mark.parametrize("task", ["no_such_module:act", "sandbox_tasks:no_such_function"])
def test_a_task_that_does_not_exist_is_said_at_once(task: str) -> None:
    before = children()
    sandbox: Sandbox[int, int] = Sandbox(task, memory_bytes=None, item_s=1)
    with pytest.raises(SandboxFailed, match="no_such"):
        list(sandbox.run([1]))
    assert children() == before


def test_the_child_does_not_outlive_a_killed_driver(tmp_path: Path) -> None:
    """Even one that is lost in an endless loop when the driver gets SIGKILL."""
    script = tmp_path / "driver.py"
    script.write_text(
        "from flywheel.images.sandbox import Sandbox\n"
        "if __name__ != '__main__': raise SystemExit('imported by the child')\n"
        "sandbox = Sandbox('sandbox_tasks:act', memory_bytes=None, item_s=600)\n"
        "print(*sandbox.run(['pid']), flush=True)\n"
        "list(sandbox.run(['spin']))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    driver = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    assert driver.stdout is not None
    child = psutil.Process(int(driver.stdout.readline()))
    driver.kill()
    driver.wait()
    driver.stdout.close()
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_bombs_past_any_budget_die_in_the_child_within_the_memory_limit() -> None:
    """With budgets as wide as a careless person could set them, the limit of the child still holds."""
    import zlib
    from io import BytesIO

    from PIL import Image

    out = BytesIO()
    Image.new("L", (1, 1)).save(out, "PNG")
    bomb = bytearray(out.getvalue())
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    careless = Budgets(max_pixels=10**10, max_side_px=10**9)
    with sandbox_of("view", memory_bytes=careless.child_memory_bytes, context=careless) as sandbox:
        before, died, after = sandbox.run([out.getvalue(), bytes(bomb), out.getvalue()])
    assert isinstance(died, Failure)
    assert died.reason is Reason.DECODER_DIED
    for *views, peak_bytes in (before, after):
        assert not any(isinstance(view, Failure) for view in views)
        assert peak_bytes < 1_500_000_000


def test_views_cross_the_border_with_their_pixels() -> None:
    from io import BytesIO

    from PIL import Image

    out = BytesIO()
    Image.new("RGB", (900, 700), (9, 99, 199)).save(out, "PNG")
    with sandbox_of("native_pixels", memory_bytes=1_400 << 20, context=Budgets()) as sandbox:
        (view,) = sandbox.run([out.getvalue()])
    assert view.rgb.shape == (700, 900, 3)
    assert (view.rgb == (9, 99, 199)).all()
