"""The house: sizes, names and layers that hold for every file of the packages."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
PACKAGES = ("flywheel", "pipelines", "captioners", "filters", "retrieval", "model", "dashboards")
# The limits that people are asked to keep are 300 and 40; a test must not break for the last few lines.
FILE_LINES = 350
FUNCTION_LINES = 60
# Spelt in halves, or this file would be found.
LEFT_UNDONE = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
TEXT = {".py", ".md", ".toml", ".html", ".css", ".sql", ".sh", ".yml"}


def sources() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((HOME / package).rglob("*.py"))]


def tree() -> Iterator[Path]:
    """What people read: packages, tests, docs, benchmarks and the files at the top, nothing that was built."""
    for folder in (*PACKAGES, "tests", "docs", "benchmarks"):
        found = (file for file in (HOME / folder).rglob("*") if "__pycache__" not in file.parts)
        yield from (file for file in found if file.suffix in TEXT)
    yield from (file for file in HOME.iterdir() if file.suffix in TEXT or file.name == "Makefile")


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_are_short() -> None:
    lengths = {str(file.relative_to(HOME)): len(file.read_text(encoding="utf-8").splitlines()) for file in sources()}
    assert len(lengths) > 50
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{file.relative_to(HOME)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for file in sources()
        for node in functions(file)
    }
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_names_say_what_is_inside() -> None:
    vague = re.compile(r"^(utils?|helpers?|misc|common|manager)", re.IGNORECASE)
    assert [str(file) for file in sources() if any(vague.match(part) for part in file.relative_to(HOME).parts)] == []


def test_nothing_is_left_undone() -> None:
    found = [
        f"{file.relative_to(HOME)}:{number}"
        for file in tree()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if LEFT_UNDONE.search(line)
    ]
    assert found == []


def test_only_the_command_line_prints() -> None:
    printing = {
        str(file.relative_to(HOME).as_posix())
        for file in sources()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    # The query child talks to its parent through its streams; the builder is a program of its own.
    others = {"flywheel/workspace/query_child.py", "model/miniature/build/__main__.py"}
    assert {file for file in printing if not file.startswith("flywheel/cli/")} <= others


def test_imports_go_down_only() -> None:
    beside = Path(sys.executable).parent / "lint-imports"
    program = str(beside) if beside.exists() else shutil.which("lint-imports")
    if program is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run([program, "--no-cache"], cwd=HOME, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
