"""Commands of the morning: feedback in, modes out."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, app, emit, open_workspace, table

if TYPE_CHECKING:
    from pipelines.collecting import Collected
    from pipelines.modes_shown import ModeShown

feedback_app = typer.Typer(help="What people say of pictures, from files or one by one.", no_args_is_help=True)
generations_app = typer.Typer(help="Pictures that a product made.", no_args_is_help=True)
triage_app = typer.Typer(help="Which failures there are, of what kind, and what is done about them.")
app.add_typer(feedback_app, name="feedback")
app.add_typer(generations_app, name="generations")
app.add_typer(triage_app, name="triage", invoke_without_command=True)

_CASES_SHOWN = 10
_PROMPT_CHARS = 100


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
    row |= {"checkpoint": checkpoint, "seed": seed, "image": image, "actor": getpass.getuser(), "at": _now()}
    if bad and score is None:
        row["score"] = 0.0
    said = list(mapped.read([("feedback add", row)], Columns(), "person"))
    done = collect(open_workspace(workspace), said)
    missing = _missing(said[0].missing)
    emit(as_json, asdict(done), lambda say: _collected(say, done, 1, missing))


@triage_app.callback(invoke_without_command=True)
def triage(
    context: typer.Context,
    state: Annotated[list[str] | None, typer.Option("--state", help="Default: all that are not over.")] = None,
    part: Annotated[str, typer.Option("--slice", help="Modes of a facet, or that name this part of prompts.")] = "",
    track: Annotated[str, typer.Option(help="Modes that this track is to heal.")] = "",
    since: Annotated[str, typer.Option(help="Changed since then, as 2026-11-28 or 2026-11-28T09:00.")] = "",
    new: Annotated[bool, typer.Option("--new", help="Only what changed since you last looked.")] = False,
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Modes of failure, the costliest first; it opens with what changed since you last looked. Only reads."""
    from pipelines.modes_shown import modes_shown

    if context.invoked_subcommand is not None:
        return
    opened = open_workspace(workspace)
    looked = _looked(str(opened.path) if opened.is_local else workspace)
    shown = modes_shown(opened, states=state or (), part=part, track=track, since=max(since, looked if new else ""))
    changed = [one for one in shown if one.changed_at > looked]
    document = {
        "looked_before": looked or None,
        "changed": [one.mode_id for one in changed],
        "modes": [asdict(one) | {"share": one.share} for one in shown],
    }
    emit(as_json, document, lambda say: _print(say, shown, changed, looked))


@triage_app.command()
def show(
    mode: Annotated[str, typer.Argument(help="The id of a mode, or how it begins.")],
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """One mode: how it stands, what became of it, its failures."""
    from pipelines.modes_shown import cases, history, mode_named

    opened = open_workspace(workspace)
    one = mode_named(opened, mode)
    failures, events = cases(opened, one.mode_id), history(opened, one.mode_id)
    document = {**asdict(one), "share": one.share, "failures": failures, "events": events}

    def lines(say: Printer) -> None:
        say(f"{one.name}  ({one.mode_id}, {one.state})")
        say(f"  {_evidence(one)}; {one.pictures} pictures, {one.replayable} of which can be drawn again")
        say(f"  said by {', '.join(one.said_by) or 'nobody any more'}; found {one.found_at}, changed {one.changed_at}")
        rows = [
            [_short(case["prompt"]), case["severity"], _wrong(case), case["image"] or case["generation_id"]]
            for case in failures
        ]
        table(None, ["prompt", "severity", "wrong", "picture"], rows[:_CASES_SHOWN])
        if len(failures) > _CASES_SHOWN:
            say(f"and {len(failures) - _CASES_SHOWN} more: --json has them all")

    emit(as_json, document, lines)


def _collected(say: Printer, done: Collected, read: int, missing: dict[str, int]) -> None:
    say(f"{read} judgements read, {done.new_feedback} of them new")
    say(f"{done.failures} failures ({done.new_failures} new) in {done.modes} modes ({done.new_modes} new)")
    _unplayable(say, missing)
    say("next: flywheel triage")


def _unplayable(say: Printer, missing: dict[str, int]) -> None:
    for name, count in missing.items():
        say(f"  {count} cannot be drawn again: no {name}")


def _missing(names: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def _print(say: Printer, shown: list[ModeShown], changed: list[ModeShown], looked: str) -> None:
    if not shown:
        say("no mode of failure; `flywheel feedback import FILE` or `flywheel evaluate` brings some")
        return
    if looked:
        say(f"since you last looked ({looked}): {len(changed)} of {len(shown)} modes changed")
    fresh = {one.mode_id for one in changed} if looked else set()
    rows = [
        [
            one.mode_id[:8],
            one.name + ("  *" if one.mode_id in fresh else ""),
            one.state,
            f"{one.failing}/{one.prompts}",
            f"{one.severity:.2f}",
            _trend(one),
            _evidence(one),
            " → ".join(filter(None, (one.cause, one.track))) or "–",
        ]
        for one in shown
    ]
    table(
        None, ["mode", "what fails, where", "state", "prompts", "severity", "trend", "evidence", "cause → track"], rows
    )
    say("next: flywheel triage show MODE")


def _trend(one: ModeShown) -> str:
    if one.before is None or one.before == one.share:
        return "–"
    return f"{'up' if one.share > one.before else 'down'} from {one.before:.0%}"


def _evidence(one: ModeShown) -> str:
    if not one.parts:
        return f"{one.share:.0%} fail, wherever"
    return f"{one.share:.0%} fail, elsewhere {one.elsewhere:.0%}, p {one.p:.1g}"


def _wrong(case: dict[str, Any]) -> str:
    return ", ".join(case["facets"]) or case["comment"] or "in whole"


def _short(prompt: str) -> str:
    return prompt if len(prompt) <= _PROMPT_CHARS else prompt[: _PROMPT_CHARS - 1] + "…"


def _pairs(named: list[str]) -> dict[str, str]:
    from flywheel.errors import UsageError

    pairs = [one.partition("=") for one in named]
    if wrong := [one for one, (field, _, column) in zip(named, pairs, strict=True) if not (field and column)]:
        raise UsageError(f"--map {wrong[0]}: FIELD=COLUMN, as prompt=query")
    return {field: column for field, _, column in pairs}


def _scale(scale: str) -> tuple[float, float]:
    from flywheel.errors import UsageError

    worst, _, best = scale.partition(":")
    try:
        return float(worst), float(best)
    except ValueError as error:
        raise UsageError(f"--scale {scale}: the worst and the best number, as 1:5") from error


def _looked(workspace: str) -> str:
    """When this person last looked; from now on, now. Theirs, not the workspace's: kept in their own folder."""
    file = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "flywheel" / "looked.json"
    known: dict[str, str] = {}
    try:
        known = json.loads(file.read_text())
        before = str(known.get(workspace, ""))
    except (OSError, ValueError, AttributeError):
        before = ""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**known, workspace: _now()}, indent=1))
    except OSError:
        pass  # a home that cannot be written: everything is new each time
    return before


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
