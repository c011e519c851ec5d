"""What the report's page says: structure, escaping, and numbers that equal SQL's."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from dashboards.report_samples import DROPPED
from filters.policy import bundled
from filters.rules import RULES, STAGES


def _funnel_row(html: str, name: str) -> list[int]:
    part = html[html.index(f'data-row="{name}"') :].split("</tr>")[0]
    return [int(cell.split('"')[0]) for cell in part.split('data-value="')[1:]]


def test_the_page_is_whole_and_in_order(read: Any, html: str) -> None:
    reader = read(html)
    sections = [element.attributes["id"] for element in reader.elements if element.tag in ("header", "section")]
    assert sections == [
        "head",
        "laws",
        "funnel",
        "scores",
        "kept",
        "dropped",
        "duplicates",
        "domains",
        "rejected",
        "balance",
    ]
    assert all("data-testid" in element.attributes for element in reader.elements if element.tag == "section")


def test_nothing_outside_is_referred_to(read: Any, html: str) -> None:
    for element in read(html).elements:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            if name in element.attributes:
                assert element.attributes[name].startswith(("data:image/jpeg;base64,", "#")), element
        assert element.tag not in ("script", "iframe", "object", "embed", "link", "base", "form")
    assert html.count("url(") == html.count("url(#hatch)")
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_names_and_captions_are_text(read: Any, seen: Any, html: str) -> None:
    reader = read(html)
    titles = [element.attributes.get("title", "") for element in reader.elements if element.tag == "img"]
    assert any(seen.hostile_name in title and seen.hostile_caption in title for title in titles)
    assert not any(name.startswith("on") for element in reader.elements for name in element.attributes)
    assert "<i>set" not in html
    assert "<b>cut" not in html
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in html


def test_conservation_figures_are_those_of_the_tables(read: Any, html: str) -> None:
    reader = read(html)
    law = {
        element.attributes["data-law"]: int(element.attributes["data-value"]) for element in reader.having("data-law")
    }
    assert law == {"in": 13, "new": 12, "known": 0, "rejected": 1, "quarantined": 0}


def test_a_source_without_outcome_is_told(read: Any, shop: Any) -> None:
    shop.add("sources", [{"source_id": "torn", "uri": "file:///torn.png", "fingerprint": "1-1"}])
    assert read(shop.page().html).having("data-law", "open")[0].attributes["data-value"] == "1"


def test_funnel_table_equals_the_verdicts(seen: Any, html: str) -> None:
    rows = seen.ask("SELECT stage, verdict, rule, count(*) AS n FROM verdicts GROUP BY ALL")
    for verdict in ("kept", "dropped", "unjudged"):
        expected = Counter(
            {stage: sum(r["n"] for r in rows if (r["stage"], r["verdict"]) == (stage, verdict)) for stage in STAGES}
        )
        assert _funnel_row(html, verdict) == [expected[stage] for stage in STAGES]
    for rule in {row["rule"] for row in rows if row["verdict"] == "dropped"}:
        expected = Counter(
            {row["stage"]: row["n"] for row in rows if (row["verdict"], row["rule"]) == ("dropped", rule)}
        )
        assert _funnel_row(html, f"dropped:{rule}") == [expected[stage] for stage in STAGES]


def test_every_kind_of_ribbon_is_explained(read: Any, html: str, shop: Any) -> None:
    shop.policy = bundled("miniature")  # nothing is kept under it, so nothing kept needs an explanation
    kinds = []
    for page in (html, shop.page().html):
        reader = read(page)
        drawn = {e.attributes["class"].removeprefix("flow ") for e in reader.elements if e.tag == "path"}
        assert [element.attributes["data-flow"] for element in reader.having("data-flow")] == [
            kind for kind in ("kept", "unjudged", "new", "out") if kind in drawn
        ]
        kinds.append(drawn)
    assert kinds == [{"kept", "unjudged", "new", "out"}, {"unjudged", "new", "out"}]


def test_lines_of_listings_are_no_files(shop: Any) -> None:
    ended = {"step": "pairs", "config_hash": "c", "attempt": 1, "status": "rejected", "reason": "bad_listing"}
    details = [f"edits.jsonl, line {n}: <not> a JSON object" for n in (8, 9, 10, 11, 12)]
    shop.add("outcomes", [ended | {"subject_id": f"{9 - n}" * 64, "detail": text} for n, text in enumerate(details)])
    html = shop.page().html
    files, lines = html[html.index('id="rejected"') : html.index('id="balance"')].split('data-testid="refused-lines"')
    assert re.findall('data-reason="(.*?)" data-value="(.*?)"', files) == [("truncated", "1")]
    assert 'data-reason="bad_listing" data-value="5"' in lines
    assert re.findall(r"line (\d+): &lt;not&gt;", lines) == ["8", "9", "10"]
    assert "9" * 64 not in html


def test_every_dropped_image_is_on_one_sheet(read: Any, seen: Any, html: str) -> None:
    sheets = read(html).having("data-rule")
    totals = {sheet.attributes["data-rule"]: int(sheet.attributes["data-total"]) for sheet in sheets}
    (dropped,) = seen.ask("SELECT count(DISTINCT image_id) AS n FROM verdicts WHERE verdict = 'dropped'")
    assert sum(totals.values()) == dropped["n"]
    assert totals == {"duplicate": 1, "entropy": 3}
    (twin,) = seen.ask(
        "SELECT width_px FROM verdicts JOIN images USING (image_id) WHERE stage = 1 AND rule = 'duplicate'"
    )
    duplicates = html[html.index('data-rule="duplicate"') : html.index('data-rule="entropy"')]
    assert f"<b>{twin['width_px']} × 180</b> px" in duplicates
    assert list(totals) == [name for name in RULES if name in totals]


def test_sheets_are_bounded(shop: Any) -> None:
    shop.policy = shop.policy.model_copy(update={"rules": {**shop.policy.rules, "short_side": _short_side(10_000)}})
    rows = [
        {
            "image_id": i,
            "format": "PNG",
            "width_px": 300,
            "height_px": 180,
            "uri": f"file:///gone/{i}",
            "source_id": "none",
        }
        for i in (f"{n:064x}" for n in range(DROPPED))
    ]
    shop.add("images", rows)
    html = shop.page().html
    sheet = html[html.index('data-rule="short_side"') : html.index('<section id="duplicates"')]
    assert sheet.count("data-image-id") == DROPPED


def _short_side(px: int) -> Any:
    limits = bundled("miniature").rules["short_side"]
    return limits.model_copy(update={"min": (px,) * len(STAGES)})


def test_thresholds_of_the_active_policy_are_drawn(read: Any, seen: Any, html: str) -> None:
    start = html.index('data-score="entropy_bits"')
    drawn = html[start : html.index("</svg>", start)]
    marks = {
        element.attributes["data-threshold"]
        for element in read(f"<p>{drawn[drawn.index('<svg') :]}</svg></p>").having("data-threshold")
    }
    rule = RULES["entropy"]
    for bound, sign in (("min", "≥"), ("max", "≤")):
        values = seen.policy.values(rule, bound)  # type: ignore[arg-type]
        assert values
        for value in set(values):
            assert any(mark.startswith(f"{sign} {value:.3g} at stage") for mark in marks), (value, marks)
    for domain in seen.policy.rules["entropy"].by_domain:
        assert domain in drawn


def test_measured_counts_equal_the_scores(html: str) -> None:
    card = html[html.index('data-score="sideways"') :]
    assert '<span data-value="6">6</span> measured' in card
    assert "6 abstained" in card.split("</div>")[0]
    waiting = html[
        html.index('data-testid="scores-waiting"') : html.index("</table>", html.index('data-testid="scores-waiting"'))
    ]
    assert "<code>sharpness</code>" in waiting
    assert "<code>sigma</code>" in waiting


def test_balance_equals_the_scores(seen: Any, html: str) -> None:
    facet = html[html.index('data-facet="Domain"') : html.index('data-facet="Aspect ratio"')]
    told = {name: int(images) for name, images in re.findall(r'data-name="(\w+)" data-images="(\d+)"', facet)}
    assert told == {row["domain"]: row["n"] for row in seen.ask("SELECT domain, count(*) AS n FROM scores GROUP BY 1")}
