"""Captions and searches as people see them: beside their images, with what they were held to, and never as markup."""

from __future__ import annotations

import json
import re
from typing import Any

from dashboards.contact_sheet import Result, Row, contact_sheet

HOSTILE = "</p><script>alert(1)</script>\u202e"


def caption(shop: Any, at: int, kind: str, text: str, *checks: dict[str, Any]) -> dict[str, Any]:
    return {
        "caption_id": f"{kind}-{at}",
        "image_id": shop.ids[at],
        "kind": kind,
        "captioner": "m/1",
        "text": text,
        "tokens": 10 * (at + 1),
        "evidence_json": json.dumps(list(checks)),
    }


def refusal(shop: Any, at: int, detail: str) -> dict[str, Any]:
    return {
        "step": "caption.general",
        "subject_id": shop.ids[at],
        "config_hash": "m/1",
        "attempt": 1,
        "status": "quarantined",
        "reason": "caption_failed",
        "detail": detail,
    }


def test_without_captions_there_is_no_section(html: str) -> None:
    assert 'id="captions"' not in html
    assert "#captions" not in html


def test_captions_stand_beside_their_image_with_their_checks(shop: Any) -> None:
    held = {"check": "schema", "ok": True}
    silent = {"check": "quotes", "ok": None, "says": "no independent reading"}
    shop.add(
        "captions",
        [
            caption(shop, 0, "general", HOSTILE, held, silent),
            caption(shop, 0, "structured", "star", held | {"value": 0.5}),
            caption(shop, 3, "general", "a plain picture", held),
        ],
    )
    shop.add(
        "outcomes", [refusal(shop, 4, "quotes 0.51"), refusal(shop, 5, "quotes 0.62"), refusal(shop, 6, "not JSON")]
    )
    html = shop.page().html
    section = html[html.index('<section id="captions"') :]
    section = section[: section.index("</section>")]
    assert "<script>" not in section
    assert "\u202e" not in section
    assert "&lt;script&gt;alert(1)" in section
    row = section[section.index('<tr data-kind="general">') :]
    assert re.findall(r'data-value="(\d+)"', row[: row.index("</tr>")]) == ["2", "3"]
    assert "quotes" in row
    assert "× 2" in row[: row.index("</tr>")]  # numbers aside, two failed alike
    first = section.index(f'data-image-id="{shop.ids[0]}"')
    assert first < section.index(f'data-image-id="{shop.ids[3]}"')  # the most kinds first
    assert '<span class="silent" title="no independent reading">quotes</span>' in section
    assert '<span class="held" title="holds">schema 0.50</span>' in section
    assert shop.ids[0] in shop.page().image_ids


def test_a_contact_sheet_shows_what_was_found_and_escapes_it(shop: Any) -> None:
    rows = [
        Row(
            title=HOSTILE,
            says="text search",
            results=[
                Result(image_id=shop.ids[0], score=0.75, caption=HOSTILE),
                Result(image_id=shop.ids[1], score=0.5, caption=None),
            ],
        ),
        Row(title="nothing like it", says="vector search", results=[]),
    ]
    page = contact_sheet(shop.workspace, rows)
    assert "<script>" not in page.html
    assert "\u202e" not in page.html
    assert page.html.count("data:image/jpeg;base64,") == 2
    assert "Nothing was found." in page.html
    assert "0.750" in page.html
    assert set(page.image_ids) == {shop.ids[0], shop.ids[1]}
