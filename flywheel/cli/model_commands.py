"""Commands about weights and servers: doctor, models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, app, emit, open_workspace, table

if TYPE_CHECKING:
    from pipelines.weights import OnBytes

models_app = typer.Typer(help="Weights on this machine: look, fetch, add, verify.", no_args_is_help=True)
app.add_typer(models_app, name="models")

WeightsName = Annotated[str, typer.Argument(help="A name that `flywheel models list` shows, or a new one.")]


@app.command()
def doctor(workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """Say what the profile needs, what is here, what abstains for want of it, and the line that mends it."""
    from flywheel.encoders.vlm_serving import serve_lines
    from pipelines.doctor import examine

    found = examine(open_workspace(workspace))
    document = {"findings": [asdict(finding) for finding in found], "serve": list(serve_lines())}

    def lines(say: Printer) -> None:
        for finding in found:
            say(f"{'ok  ' if finding.ok else 'MISS'} {finding.what:10} {finding.says}")
            if finding.abstains:
                say(f"     {'':10} abstains: {finding.abstains}")
            if finding.mends:
                say(f"     {'':10} mend it:  {finding.mends}")
        say("")
        say("a captioner for real photographs, on one GPU and on eight:")
        for line in serve_lines():
            say(f"  {line}")

    emit(as_json, document, lines)


@models_app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """All weights that a profile uses or that are here, and how the missing ones come."""
    from pipelines.weights import listed

    found = listed()

    def lines(say: Printer) -> None:
        rows = [
            [one.name, ", ".join(one.profiles), one.comes if one.place else "not here", str(one.place or one.says)]
            for one in found
        ]
        table(None, ["weights", "used by profiles", "", "where, or how they come"], rows)

    emit(as_json, {"weights": [asdict(one) for one in found]}, lines)


@models_app.command()
def pull(name: WeightsName, as_json: AsJson = False) -> None:
    """Fetch weights from their publisher, hold them to their pinned sha256, and keep them as safetensors.

    A try that was cut off goes on where it ended.
    """
    from pipelines import weights

    with _bytes(name) as on_bytes:
        place = weights.pull(name, on_bytes)
    emit(as_json, {"name": name, "place": str(place)}, lambda say: say(f"{name}: {place}"))


@models_app.command()
def add(
    name: WeightsName,
    path: Annotated[
        Path, typer.Argument(help="A folder of open_clip's or transformers', or a head: .safetensors or .pth.")
    ],
    as_json: AsJson = False,
) -> None:
    """Copy weights of your own in under a name; heads are kept as safetensors, code is left behind."""
    from pipelines import weights

    place = weights.add(name, path)
    emit(as_json, {"name": name, "place": str(place)}, lambda say: say(f"{name}: {place}"))


@models_app.command()
def verify(as_json: AsJson = False) -> None:
    """Hold every file of all weights here to the sha256 that was kept of it. Exit code 1 if one is not as it was."""
    from pipelines import weights

    found = weights.verify()

    def lines(say: Printer) -> None:
        for one in found:
            say(f"{'MISS' if one.wrong else 'ok  '} {one.name}: {one.wrong or f'{one.files} files'}")
        if not found:
            say("no weights are here")

    emit(as_json, {"weights": [asdict(one) for one in found]}, lines)
    if any(one.wrong for one in found):
        raise typer.Exit(1)


@contextmanager
def _bytes(name: str) -> Iterator[OnBytes]:
    """How much has come, on stderr; nothing when stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(name, total=None)
        yield lambda there, total: bars.update(task, completed=there, total=total)
