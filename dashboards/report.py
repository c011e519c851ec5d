"""`flywheel report`: one page that shows what a workspace holds and what its policy does with it.

The page needs nothing but itself: no request leaves it, no script runs in it (a content security policy says so
too), and all that comes from files, captions or tables is escaped. Equal tables give an equal page.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from jinja2 import Environment, PackageLoader, StrictUndefined

from dashboards import report_captions, report_data, report_samples
from dashboards.figures import funnel_figure
from dashboards.plots import figure, plot, spoken
from dashboards.report_samples import Group, Original, Sheet, Shown
from dashboards.report_scores import distributions
from dashboards.thumbnails import Wanted, inlined
from filters.funnel import Funnel
from filters.policy import Policy
from filters.rules import RULES
from flywheel import __version__
from flywheel.errors import FlywheelError, UsageError
from flywheel.workspace import Workspace
from flywheel.workspace.places import canonical_uri
from flywheel.workspace.storage import Store

# Our choice: what all pictures of a page may take, base64 and all, so that it stays near 8 MB.
PICTURE_BYTES = 7_000_000
PATH_CHARS = 44
_LIST = ".ids.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page, and the images that it shows or names, sorted."""

    html: str
    image_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Where a report lies, and how large it is."""

    report: str
    ids: str
    images: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One picture of a contact sheet. `jpeg` is base64, None where `missing` says why there is none."""

    shown: Shown
    original: Original
    jpeg: str | None
    missing: str | None


def write_report(workspace: Workspace, policy: Policy, views: Mapping[str, str], to: str | None = None) -> Written:
    """Write the page, and beside it `<name>.ids.json`, from which forgetting knows whom the page shows.

    `views`: SQL of `scores` and `verdicts` under `policy`. `to` is a local path or an s3:// URI; by default
    reports/report.html in a local workspace. Raises UsageError, PolicyError, ConservationError, and FlywheelError
    where nothing can be written there.
    """
    target = page_target(workspace, to, "report.html")
    return write_page(target, build(workspace, policy, views))


def page_target(workspace: Workspace, to: str | None, usual: str) -> str:
    """Where a page goes, as a URI. Raises UsageError where nothing could be written under that name."""
    if to is None and not workspace.is_local:
        raise UsageError(f"{workspace.uri} is no local folder: say where the report goes with --to FILE")
    target = canonical_uri(to or f"{workspace.uri}/reports/{usual}")
    folder, _, name = target.rpartition("/")
    if not name.endswith(".html"):
        raise UsageError(f"a report is a web page: give --to a name that ends in .html, not {unquote(name)!r}")
    if folder == "s3:/":
        raise UsageError(f"{target} is a bucket: name the page inside it, as in s3://bucket/report.html")
    return target


def write_page(target: str, page: Page) -> Written:
    """Write a page and its list. Raises FlywheelError where nothing can be written there."""
    folder, _, name = target.rpartition("/")
    try:
        _write(Store(folder + "/"), unquote(name), page)
    except OSError as error:
        raise FlywheelError(
            f"cannot write {place(target)}: {error.strerror or error}; give --to a file in a folder that takes it"
        ) from error
    listed = target.removesuffix(".html") + _LIST
    return Written(report=target, ids=listed, images=len(page.image_ids), bytes=len(page.html.encode()))


def _write(store: Store, name: str, page: Page) -> None:
    ids = name.removesuffix(".html") + _LIST
    # A page without its list counts as showing anybody, so the old list goes before the new page comes.
    if store.exists(ids):
        store.delete(ids)
    store.write_new(name, page.html.encode())
    store.write_new(ids, (json.dumps(page.image_ids, indent=0) + "\n").encode())


def build(workspace: Workspace, policy: Policy, views: Mapping[str, str]) -> Page:
    """The page itself. Reads tables, and the originals of what it shows."""
    funnel = report_data.funnel_of(workspace, policy, views)
    at = report_data.reached(funnel)
    reached = report_samples.reached_sheet(workspace, views, at)
    dropped = report_samples.dropped_sheets(workspace, views)
    groups = report_samples.duplicate_groups(workspace)
    domains = report_samples.domain_sheets(workspace, views, at)
    captioned = report_captions.captioned(workspace, views)
    shown = list(_shown([*([reached] if reached else []), *dropped], groups, domains))
    shown += [one.shown for one in captioned]
    known = report_samples.originals(workspace, {picture.image_id for picture in shown})
    scores = distributions(workspace, policy, views)
    html = (
        environment()
        .get_template("report.html")
        .render(
            version=__version__,
            overview=report_data.overview(workspace),
            policy=policy,
            funnel=funnel,
            drawing=funnel_figure(funnel, policy.trains_at),
            reached=at,
            judged=[(score, plot(score)) for score in scores if score.rule and score.measured],
            waiting=[score for score in scores if score.rule and not score.measured],
            others=[(score, plot(score)) for score in scores if not score.rule and score.measured],
            kept_sheet=reached,
            dropped_sheets=dropped,
            groups=groups,
            domain_sheets=domains,
            captioned=captioned,
            yields=report_captions.yields(workspace),
            rejects=report_data.rejects(workspace),
            refused_lines=report_data.refused_lines(workspace),
            facets=report_data.balance(workspace, views, at),
            rules=RULES,
            blamed=_blamed(funnel),
            tile=_tiles(workspace, shown, known),
        )
    )
    return Page(html=html, image_ids=tuple(sorted(known)))


def _blamed(funnel: Funnel) -> dict[str, list[str]]:
    """The rules that drop anything, or leave anything unjudged, at any stage."""
    tallies = [stage.total for stage in funnel.stages]
    return {
        "dropped": [name for name in RULES if any(name in tally.dropped for tally in tallies)],
        "unjudged": [name for name in RULES if any(name in tally.unjudged for tally in tallies)],
    }


def _shown(sheets: Iterable[Sheet], groups: Iterable[Group], domains: Iterable[Sheet]) -> Iterator[Shown]:
    """Every picture in the order of the page, one that is shown twice too."""
    for sheet in sheets:
        yield from sheet.pictures
    for group in groups:
        yield from (group.representative, *group.members)
    for sheet in domains:
        yield from sheet.pictures


def _tiles(workspace: Workspace, shown: Sequence[Shown], known: Mapping[str, Original]) -> Any:
    """The template's way from a picture to its tile. What no longer fits on the page is named without a picture."""
    wanted = [Wanted(image_id=original.image_id, locator=original.locator) for original in known.values()]
    encoded, unreadable = inlined(wanted, workspace.config.ingest.budgets)
    fitting: set[str] = set()
    room = PICTURE_BYTES
    for image_id, times in Counter(picture.image_id for picture in shown).items():
        room -= times * len(encoded.get(image_id, ""))
        if room >= 0:
            fitting.add(image_id)

    def tile(picture: Shown) -> Tile:
        missing = unreadable.get(picture.image_id)
        if missing is None and picture.image_id not in fitting:
            missing = "the page is full"
        jpeg = None if missing else encoded[picture.image_id]
        return Tile(shown=picture, original=known[picture.image_id], jpeg=jpeg, missing=missing)

    return tile


def environment() -> Environment:
    """Where pages come from: templates that escape, and the ways in which they write things."""
    made = Environment(
        loader=PackageLoader("dashboards", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "figure": figure,
        "spoken": spoken,
        "place": place,
        "short_place": short_place,
        "plain": plain,
        "day": lambda at: str(at)[:16].replace("T", " "),
        "percent": _percent,
        "size": _size,
    }
    return made


def plain(text: str) -> str:
    """Text without what would turn or hide its neighbours (control and bidirectional marks)."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def place(uri: str) -> str:
    """A URI as people read it: percent-encoding undone, the scheme of local files left out."""
    return plain(unquote(uri.removeprefix("file://")))


def short_place(uri: str) -> str:
    """The end of a place, which tells files apart."""
    whole = place(uri)
    if len(whole) <= PATH_CHARS:
        return whole
    return "…" + whole[-(PATH_CHARS - 1) :]


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 9.95 or not share else f"{share:.1f} %"


def _size(count: int) -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} bytes"
