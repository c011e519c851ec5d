"""Commands that find images again: index, search, tag."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, app, emit, open_workspace, progress, table

if TYPE_CHECKING:
    from dashboards.contact_sheet import Row
    from flywheel.workspace import Workspace
    from pipelines.searching import Answer

Condition = Annotated[
    str | None, typer.Option("--where", help="A condition over the columns of `scores` and `sources`, as in SQL.")
]


@app.command()
def index(
    workspace: Where = DEFAULT,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build it anew instead of adding what is new.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the search index up to the tables. It holds nothing that they do not."""
    from pipelines.indexing import index

    with progress() as show:
        report = index(open_workspace(workspace), show, rebuild=rebuild)
    told = ", ".join(f"{name} {value}" for name, value in report.counts.items()) or "nothing new"
    emit(as_json, report.document(), lambda say: say(f"{report.step:16} {told}"))


@app.command()
def search(
    words: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    workspace: Where = DEFAULT,
    image: Annotated[Path | None, typer.Option("--image", help="Look for images like this one.")] = None,
    failure: Annotated[
        str | None, typer.Option("--failure", help="Look for images of what this failure asked.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=10_000, help="How many.")] = 20,
    where: Condition = None,
    mode: Annotated[str | None, typer.Option("--mode", help="vector, text or hybrid; none: what can be done.")] = None,
    diverse: Annotated[bool, typer.Option("--diverse", help="Results that differ from one another.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the results as a contact sheet.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find images by words, by a picture, or by both; one of each duplicate group."""
    from pipelines.searching import Wanted, asked_in, search

    opened = open_workspace(workspace)
    wanted = Wanted(
        words=words if failure is None else asked_in(opened, failure),
        picture=None if image is None else _bytes_of(image),
        k=k,
        mode=_mode(mode),
        diverse=diverse,
        only=None if where is None else _fitting(opened, where),
    )
    answer = search(opened, wanted)
    page = None if html is None else _sheet(opened, words or str(image or failure), answer, html)
    document = {
        "mode": answer.mode,
        "hits": [asdict(hit) for hit in answer.hits],
        "lag": dict(answer.lag),
        **({"html": page} if page else {}),
    }
    emit(as_json, document, lambda say: _say(say, answer, page))


@app.command()
def tag(
    name: Annotated[str | None, typer.Argument(help="The tag; none with --list.")] = None,
    workspace: Where = DEFAULT,
    where: Condition = None,
    from_search: Annotated[
        Path | None, typer.Option("--from-search", help="A file that `flywheel search --json` wrote.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag away instead.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Say which tags there are.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give images a label, to be used in conditions (`list_contains(tags, 'NAME')`), searches and exports."""
    from flywheel.errors import UsageError
    from pipelines.tagging import tagged, tags

    opened = open_workspace(workspace)
    if listed or name is None:
        counts = tags(opened)
        rows = [[tag, images] for tag, images in counts.items()]
        emit(as_json, counts, lambda say: table(None, ["tag", "images"], rows) if rows else say("no tags yet"))
        return
    if (where is None) == (from_search is None):
        raise UsageError("say which images: --where CONDITION or --from-search FILE, one of the two")
    images = _fitting(opened, where) if where is not None else _found_in(from_search)
    changed = tagged(opened, name, images, remove=remove)
    verb = "untagged" if remove else "tagged"
    emit(as_json, {"tag": name, verb: changed}, lambda say: say(f"{verb} {changed} of {len(images)} images: {name}"))


def _mode(name: str | None) -> Any:
    from flywheel.errors import UsageError

    if name not in (None, "vector", "text", "hybrid"):
        raise UsageError(f"no mode {name!r}; there are vector, text and hybrid")
    return name


def _bytes_of(path: Path) -> bytes:
    from flywheel.errors import UsageError

    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _fitting(workspace: Workspace, condition: str | None) -> list[str]:
    from pipelines.chosen import fitting
    from pipelines.judging import judging_views

    assert condition is not None
    return fitting(workspace, condition, judging_views(workspace))


def _found_in(path: Path | None) -> list[str]:
    from flywheel.errors import UsageError

    assert path is not None
    try:
        return [str(hit["image_id"]) for hit in json.loads(_bytes_of(path))["hits"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not what `flywheel search --json` writes") from error


def _sheet(workspace: Workspace, title: str, answer: Answer, to: Path) -> str:
    from dashboards.contact_sheet import contact_sheet
    from dashboards.report import page_target, write_page
    from flywheel.workspace import runs

    target = page_target(workspace, str(to), "search.html")
    # A run of its own: forgetting knows afterwards where pictures lie.
    run = runs.start(workspace, "report", detail={"to": target})
    with run.recorded({}):
        written = write_page(target, contact_sheet(workspace, [row_of(title, answer)]))
    run.end("finished", {"images": written.images})
    return written.report


def row_of(title: str, answer: Answer) -> Row:
    """An answer as a contact sheet shows it."""
    from dashboards.contact_sheet import Result, Row

    results = [Result(image_id=hit.image_id, score=hit.score, caption=hit.caption) for hit in answer.hits]
    return Row(title=title, says=f"{answer.mode} search", results=results)


def _say(say: Printer, answer: Answer, page: str | None) -> None:
    rows = [[f"{hit.score:.3f}", hit.image_id[:12], hit.uri.rsplit("/", 1)[-1], hit.caption] for hit in answer.hits]
    table(f"{answer.mode} search", ["score", "image", "file", "caption"], rows)
    if answer.lag:
        behind = ", ".join(f"{name} {commits}" for name, commits in answer.lag.items())
        say(f"the index is behind ({behind} commits): `flywheel index` brings it up")
    if page:
        say(f"the contact sheet: {page}")
