"""What goes wrong is one line that says what to do, code 2 for a wrong call and 1 for a failure; never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from calling import call
from hypothesis import given
from hypothesis import strategies as st

import flywheel.cli
from flywheel.cli.app import emit
from flywheel.cli.visible import escaped, visible
from flywheel.workspace.migrations import FORMAT


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("errors") / "ws"
    assert call("init", "-w", place).code == 0
    return place


@pytest.fixture
def own(place: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(place, tmp_path / "own"))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("{file}", "cannot be made a workspace: Not a directory"),
        ("{file}/below", "cannot be made a workspace: Not a directory"),
        ("/proc/x", "cannot be made a workspace"),
        ("", "the workspace has no name"),
        ("/", "use a folder of its own"),
        ("w[1]", "use another folder"),
        ("gs://bucket/x", "use a local path or s3://"),
    ],
)
def test_a_place_that_cannot_be_a_workspace(tmp_path: Path, where: str, words: str) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    call("init", "-w", where.format(file=file)).refused(2, words)
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_is_no_workspace_for_other_commands_either(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.write_text("not a folder")
    for command in ("status", "sql"):
        arguments = ("SELECT 1",) if command == "sql" else ()
        call(command, *arguments, "-w", file).refused(2, f"run `flywheel init -w '{file}'`")


def test_numbers_out_of_range(place: Path) -> None:
    for limit in ("-1", "0", "9" * 40):
        call("runs", "list", "--limit", limit, "-w", place).refused(2, "--limit")


def test_a_newer_workspace_is_not_migrated(own: Path) -> None:
    (own / "tables" / "format.json").write_text('{"format": 99}')
    for arguments in (["migrate"], ["migrate", "--dry-run"], ["status"]):
        call(*arguments, "-w", own).refused(
            1, f"has format 99, this flywheel reads up to {FORMAT}; install a newer flywheel"
        )


@pytest.mark.parametrize("content", [None, "", "{}", "no json"])
def test_a_workspace_without_its_format(own: Path, content: str | None) -> None:
    file = own / "tables" / "format.json"
    file.unlink() if content is None else file.write_text(content)
    for arguments in (["migrate"], ["status"], ["sql", "SELECT 1"]):
        call(*arguments, "-w", own).refused(1, "tables/format.json is missing or damaged")


def test_a_configuration_that_is_no_text(own: Path) -> None:
    (own / "flywheel.toml").write_bytes(b"[sql]\nrows = 1 # \xff\n")
    call("sql", "SELECT 1", "-w", own).refused(2, "flywheel.toml is not UTF-8 text")


class Panic(BaseException):
    """As the native code of a library raises it."""


@pytest.mark.parametrize("error", [RuntimeError("it broke\nin \x1b[31mtwo lines"), Panic("it broke in two lines")])
def test_what_nobody_foresaw_is_one_line_too(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fails() -> int:
        raise error

    monkeypatch.setattr(flywheel.cli, "_run", fails)
    monkeypatch.delenv("FLYWHEEL_DEBUG", raising=False)
    told = call("status")
    told.refused(1, f"unexpected {type(error).__name__}: it broke in ")
    assert "FLYWHEEL_DEBUG=1" in told.err
    assert told.err.rstrip("\n").isprintable()
    monkeypatch.setenv("FLYWHEEL_DEBUG", "1")
    told = call("status")
    assert told.code == 1
    assert "Traceback" in told.err
    assert "in fails" in told.err
    assert told.err.splitlines()[-1].startswith(f"flywheel: unexpected {type(error).__name__}")


def test_an_interrupt_keeps_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(flywheel.cli, "_run", interrupted)
    call("status").refused(130, "interrupted; start the same command again")


def test_lines_for_people_are_cleaned_and_documents_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    emit(False, None, lambda say: say("a caption \x1b[31m [bold]\r and\ttwo\nlines"))
    assert capsys.readouterr().out == "a caption ␛[31m [bold]␍ and\ttwo\nlines\n"
    emit(True, {"caption": "\x9b\u202e\ud800"}, lambda say: None)
    assert capsys.readouterr().out == '{\n  "caption": "\\u009b\\u202e\\ud800"\n}\n'


ACTED_ON = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, 0x2028, 0x202E, 0x2066, 0xD800)}


@given(st.text(st.sampled_from([*ACTED_ON, "a", "é", "画", " ", "\\", '"', "[", "\U0001f600"])))
def test_nothing_that_a_terminal_acts_on_gets_through(text: str) -> None:
    assert not ACTED_ON & set(visible(text, keep=""))
    assert "".join(c for c in visible(text) if c in "\n\t") == "".join(c for c in text if c in "\n\t")
    document = escaped(json.dumps([text], ensure_ascii=False, indent=1))
    assert ACTED_ON & set(document) == {"\n"}
    assert json.loads(document) == [text]
    assert visible("plain é 画 text") == "plain é 画 text"
