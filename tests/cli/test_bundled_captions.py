"""The bundled models through the whole of `curate`: what an image's author states is stated of it, in the author's order."""

from __future__ import annotations

import json
from pathlib import Path

from calling import call

from model.miniature.facts import realms
from model.miniature.sorts import SORTS

NUMBER = 8


def test_knowledge_captions_state_the_given_facts(tmp_path: Path) -> None:
    shown = realms()[:NUMBER]
    for at, realm in enumerate(shown):
        SORTS["emblem"].picture(realm.emblem, 128, at).save(tmp_path / f"{at}.png")
        facts = realm.facts()
        assert list(facts) != sorted(facts)
        (tmp_path / f"{at}.json").write_text(json.dumps({"facts": facts}))
    place = tmp_path / "workspace"
    call("init", "-w", place, "--profile", "miniature")
    assert call("ingest", tmp_path, "-w", place, "--workers", "1").code == 0
    for step in ("measure", "embed"):
        assert call(step, "-w", place, "--workers", "1").code == 0
    assert call("caption", "-w", place, "--kinds", "general,knowledge", "--workers", "1").code == 0
    sql = "SELECT s.uri, c.text FROM captions c JOIN sources s USING (image_id) WHERE c.kind = 'knowledge'"
    told = {int(Path(row["uri"]).stem): row["text"] for row in call("sql", sql, "-w", place, "--json").json}
    assert len(told) >= 0.75 * NUMBER  # the card says how often it errs
    for at, text in told.items():
        for value in shown[at].facts().values():
            assert str(value) in text
