"""What people say of pictures, and what those pictures are: feedback, generations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, app, emit, open_workspace
from flywheel.clock import now
from flywheel.errors import UsageError

if TYPE_CHECKING:
    from pipelines.collecting import Collected

feedback_app = typer.Typer(help="What people say of pictures, from files or one by one.", no_args_is_help=True)
generations_app = typer.Typer(help="Pictures that a product made.", no_args_is_help=True)
app.add_typer(feedback_app, name="feedback")
app.add_typer(generations_app, name="generations")


@generations_app.command("import")
def import_generations(
    file: Annotated[Path, typer.Argument(help="JSONL, JSON, CSV, TSV or Parquet, a row a picture.")],
    named: Annotated[
        list[str] | None, typer.Option("--map", metavar="FIELD=COLUMN", help="As of `flywheel feedback import`.")
    ] = None,
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Take in what was asked of which model, so that feedback which names only the picture can be drawn again."""
    from flywheel.signals.columns import Columns
    from flywheel.signals.files import generated_of
    from pipelines.collecting import collect
    from pipelines.importing import import_generations

    made = generated_of(file, Columns(named=_pairs(named or [])))
    opened = open_workspace(workspace)
    done = import_generations(opened, made, file.parent)
    collected = collect(opened)
    missing = _missing(name for one in made for name in one.missing)
    document = {**asdict(done), "cannot_be_drawn_again_for_want_of": missing, "collected": asdict(collected)}

    def lines(say: Printer) -> None:
        say(f"{done.generations} pictures read, {done.new} of them new, {done.pictures} kept here")
        _unplayable(say, missing)

    emit(as_json, document, lines)


@feedback_app.command("import")
def import_feedback(
    file: Annotated[
        Path, typer.Argument(help="JSONL, JSON, CSV, TSV or Parquet; GenEval, TIFA and ImageReward files.")
    ],
    named: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="Where a column is not called as usual, as prompt=query."),
    ] = None,
    scale: Annotated[str, typer.Option(metavar="WORST:BEST", help="Of scores that are numbers.")] = "0:1",
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Take in what people said, and sort what failed into modes. The same file again adds nothing."""
    from flywheel.signals.columns import Columns
    from flywheel.signals.files import feedback_of
    from pipelines.collecting import collect

    said = feedback_of(file, Columns(named=_pairs(named or []), scale=_scale(scale)))
    done = collect(open_workspace(workspace), said)
    missing = _missing(name for one in said for name in one.missing)
    document = {**asdict(done), "read": len(said), "cannot_be_drawn_again_for_want_of": missing}
    emit(as_json, document, lambda say: _collected(say, done, len(said), missing))


@feedback_app.command()
def add(
    prompt: Annotated[str, typer.Option(help="What was asked.")] = "",
    generation: Annotated[str, typer.Option(help="The id of the picture, where it has one.")] = "",
    bad: Annotated[list[str] | None, typer.Option("--bad", metavar="FACET", help="What is wrong with it.")] = None,
    score: Annotated[float | None, typer.Option(min=0, max=1, help="0 for bad to 1 for good.")] = None,
    comment: Annotated[str, typer.Option(help="In words.")] = "",
    checkpoint: Annotated[str, typer.Option(help="Which model made it.")] = "",
    seed: Annotated[int | None, typer.Option(help="From which seed.")] = None,
    image: Annotated[str, typer.Option(help="Where the picture is.")] = "",
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Say what you think of one picture."""
    import getpass

    from flywheel.signals import mapped
    from flywheel.signals.columns import Columns
    from pipelines.collecting import collect

    row = {"prompt": prompt, "generation": generation, "facets": bad or [], "score": score, "comment": comment}
    row |= {"checkpoint": checkpoint, "seed": seed, "image": image, "actor": getpass.getuser(), "at": now()}
    if bad and score is None:
        row["score"] = 0.0
    said = list(mapped.read([("feedback add", row)], Columns(), "person"))
    done = collect(open_workspace(workspace), said)
    missing = _missing(said[0].missing)
    emit(as_json, asdict(done), lambda say: _collected(say, done, 1, missing))


def _collected(say: Printer, done: Collected, read: int, missing: dict[str, int]) -> None:
    say(f"{read} judgements read, {done.new_feedback} of them new")
    say(f"{done.failures} failures ({done.new_failures} new) in {done.modes} modes ({done.new_modes} new)")
    _unplayable(say, missing)
    say("next: flywheel triage")


def _unplayable(say: Printer, missing: dict[str, int]) -> None:
    for name, count in missing.items():
        say(f"  {count} cannot be drawn again: no {name}")


def _missing(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names))


def _pairs(named: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in named]
    if wrong := [one for one, (field, _, column) in zip(named, pairs, strict=True) if not (field and column)]:
        raise UsageError(f"--map {wrong[0]}: FIELD=COLUMN, as prompt=query")
    return {field: column for field, _, column in pairs}


def _scale(scale: str) -> tuple[float, float]:
    worst, _, best = scale.partition(":")
    try:
        return float(worst), float(best)
    except ValueError as error:
        raise UsageError(f"--scale {scale}: the worst and the best number, as 1:5") from error
