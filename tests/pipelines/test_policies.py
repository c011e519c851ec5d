"""Policies by name, and the way back through their activations."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import flywheel.cli
from filters.policy import bundled_text, parse
from flywheel.errors import PolicyError, UsageError
from flywheel.workspace import Workspace
from pipelines.judging import init_workspace
from pipelines.policies import ROLLED_BACK, activate, active_policy, history, load, previous


def variant(name: str, short_side: int = 256) -> str:
    """Another policy: equal names and sizes are one and the same."""
    return (
        bundled_text("cpu")
        .replace('name = "cpu"', f'name = "{name}"')
        .replace("min = [256, 256, 512", f"min = [{short_side}, {short_side}, 512")
    )


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """`cpu` is active from its first day on. Read only."""
    return init_workspace(str(tmp_path_factory.mktemp("policies") / "ws"), "cpu")


@pytest.fixture
def workspace(fresh: Workspace, tmp_path: Path) -> Workspace:
    return Workspace.open(str(shutil.copytree(fresh.path, tmp_path / "ws")))


def back(workspace: Workspace) -> str:
    """What `flywheel policy rollback --yes` does; the name of what judges then."""
    activate(workspace, previous(workspace), event=ROLLED_BACK, stored=True)
    return active_policy(workspace).name


def test_rolling_back_again_goes_further_back(workspace: Workspace) -> None:
    for name in ("one", "two", "three"):
        activate(workspace, variant(name))
    assert [back(workspace) for _ in range(3)] == ["two", "one", "cpu"]
    with pytest.raises(UsageError, match="no earlier policy"):
        previous(workspace)
    assert len(history(workspace)) == 7


def test_an_activation_after_a_rollback_forgets_what_was_left(workspace: Workspace) -> None:
    activate(workspace, variant("one"))
    activate(workspace, variant("two"))
    assert back(workspace) == "one"
    activate(workspace, variant("three"))
    assert [back(workspace) for _ in range(2)] == ["one", "cpu"]


def test_a_policy_that_was_active_twice_is_met_twice(workspace: Workspace) -> None:
    for text in (variant("one"), bundled_text("cpu"), variant("two")):
        activate(workspace, text)
    assert [back(workspace) for _ in range(3)] == ["cpu", "one", "cpu"]


def test_activating_the_active_policy_is_no_step(workspace: Workspace) -> None:
    for name in ("one", "one"):
        activate(workspace, variant(name))
    assert back(workspace) == "cpu"


def test_histories_in_which_rollbacks_were_undone_by_rollbacks(workspace: Workspace) -> None:
    """Earlier versions went to and fro between the last two."""
    activate(workspace, variant("one"))
    assert back(workspace) == "cpu"
    activate(workspace, variant("one"), event=ROLLED_BACK)
    assert back(workspace) == "cpu"


def test_by_name_the_last_activated_and_by_the_start_of_an_id(workspace: Workspace) -> None:
    activate(workspace, variant("mine", 300))
    last = activate(workspace, variant("mine", 400))
    first = parse(variant("mine", 300))
    assert load(workspace, "mine")[0].policy_id == last.policy_id
    for digits in (4, 8, 16):
        assert load(workspace, first.policy_id[:digits])[0].policy_id == first.policy_id
        assert load(workspace, first.policy_id[:digits].upper())[0].policy_id == first.policy_id
    assert load(workspace, "miniature")[0].name == "miniature"


@pytest.mark.parametrize("name", ["", "zzzz", "x" * 300, "x" * 5000 + ".toml", "x/y/z"])
def test_what_names_no_policy_is_refused_in_few_words(fresh: Workspace, name: str) -> None:
    with pytest.raises(UsageError, match="no policy") as refused:
        load(fresh, name)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_few_digits_name_no_policy(fresh: Workspace, digits: int) -> None:
    with pytest.raises(UsageError, match="no policy"):
        load(fresh, active_policy(fresh).policy_id[:digits])


def test_the_start_of_several_ids_is_refused(fresh: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"policy_id": f"beef{n}", "name": "n", "text": bundled_text("cpu")} for n in range(2)]
    monkeypatch.setattr("pipelines.policies.history", lambda _: rows)
    with pytest.raises(UsageError, match="several policy ids"):
        load(fresh, "beef")
    assert load(fresh, "beef1")[0].name == "cpu"


def test_files_that_cannot_be_read_are_told_apart(fresh: Workspace, tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes('name = "für mich"\n'.encode("latin-1"))
    with pytest.raises(PolicyError, match=r"latin\.toml is not UTF-8 text \(byte 9\)"):
        load(fresh, str(latin))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UsageError, match="no policy file"):
        load(fresh, str(tmp_path / "folder.toml"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["funnel", "--policy", "latin.toml"], 1, "latin.toml is not UTF-8 text"),
        (["policy", "diff", ""], 2, "no policy ''"),
        (["policy", "impact", "n" * 300], 2, "no policy 'nnn"),
        (["policy", "activate", "n" * 300, "--yes"], 2, "no policy 'nnn"),
        (["policy", "rollback", "--yes"], 2, "no earlier policy to go back to"),
    ],
)
def test_the_command_says_it_in_one_line(
    fresh: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    (tmp_path / "latin.toml").write_bytes(b'name = "f\xfcr"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["flywheel", *arguments, "-w", str(fresh.path)])
    with pytest.raises(SystemExit) as ended:
        flywheel.cli.main()
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (code, "")
    assert told.err.startswith("flywheel: ")
    assert told.err.count("\n") == 1
    assert words in told.err
