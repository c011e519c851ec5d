"""What counts as a caption: schema, soundness, and what each kind is held to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from captioners import CAPTIONERS, Given
from captioners.verification import LONGEST_TEXT, Verified, verify

DESIGN = Given(domain="design")
SOUND: dict[str, dict[str, Any]] = {
    "general": {"caption": "A red star on white."},
    "text": {"layout": "poster", "lines": ["SUN", "TEA"]},
    "knowledge": {"caption": "The emblem of Velmora.", "facts": ["name"]},
    "structured": {
        "background": "white",
        "entities": [
            {"name": "star", "attributes": ["red"], "place": "top left"},
            {"name": "ring", "attributes": [], "place": "center"},
        ],
        "relations": [{"subject": 0, "relation": "above", "object": 1}],
    },
}


def judged(kind: str, payload: Any, known: Given = DESIGN, *, complete: bool = True) -> Verified:
    answer = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return verify(CAPTIONERS[kind], answer, complete=complete, given=known)


def known(**given_: Any) -> Given:
    return Given(domain="design", **given_)


@pytest.mark.parametrize("kind", CAPTIONERS)
def test_every_kind_says_what_it_wants_and_takes_it(kind: str) -> None:
    asked = CAPTIONERS[kind]
    Draft202012Validator.check_schema(dict(asked.schema))
    assert "minLength" not in json.dumps(asked.schema)
    assert "maxLength" not in json.dumps(asked.schema)
    assert set(asked.asks) == {"full", "brief"}
    verified = judged(kind, SOUND[kind], known(facts={"name": "Velmora"}, general="A star over a ring."))
    assert verified.accepted, verified.why_not
    assert verified.text
    assert json.loads(verified.evidence_json())[0] == {"check": "schema", "ok": True}


@pytest.mark.parametrize("kind", CAPTIONERS)
@given(
    st.text(max_size=40)
    | st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda e: st.lists(e)).map(json.dumps)
)
def test_whatever_else_is_answered_fails_by_its_schema(kind: str, answer: str) -> None:
    verified = judged(kind, answer)
    assert not verified.accepted
    assert verified.why_not.startswith("schema")
    assert verified.text is None


@pytest.mark.parametrize(
    ("caption", "why"),
    [
        ("   ", "empty"),
        ("I'm sorry, I cannot describe this image.", "refusal"),
        ("抱歉，我无法描述这张图片。", "refusal"),
        ("As an AI language model, I see a star.", "refusal"),
        ("a star " * 6, "loop"),
        ("very very very very very big", "loop"),
        ("the left of the " * 20, "loop"),
        ("ab" * 200, "loop"),
        ("a\x00b", "control"),
        ("x1 " + " ".join(str(number) for number in range(LONGEST_TEXT)), "more than"),
    ],
)
def test_what_is_no_sound_text_fails(caption: str, why: str) -> None:
    verified = judged("general", {"caption": caption})
    assert not verified.accepted
    assert why in verified.why_not


def test_repeating_oneself_a_little_is_no_loop() -> None:
    for said in ("very very big", "A red star, a red ring, a red star and a red heart.", "BUY BUY BUY!", "1 2 1 2 1 2"):
        assert judged("general", {"caption": said}).accepted, said


def test_an_answer_that_was_cut_off_fails_whatever_it_says() -> None:
    verified = judged("general", SOUND["general"], complete=False)
    assert verified.why_not == "complete: cut off at the token limit"


@pytest.mark.parametrize(
    ("said", "read", "verdict"),
    [
        (["SUN", "TEA"], "SUN\nTEA", True),
        (["Sun,", "tea!"], "SUN TEA", True),
        (["SUN", "SEA"], "SUN\nTEA", True),  # one sign of six
        (["MOON"], "SUN\nTEA", False),
        (["SUN", "TEA", "AND MUCH MORE"], "SUN\nTEA", False),
        (["ВЕТЕР"], "BETEP", True),  # what a reader of Latin sees of it
        (["ЛЮДИ"], "AMK", None),  # and where it sees nothing of it
        (["בית קפה"], "CIU LGU", None),
        (["קפה"], "WE ARE OPEN TODAY", False),  # that many signs are other words
        (["山水"], "大海", False),
        (["SUN"], None, None),
    ],
)
def test_a_transcript_is_held_to_the_reading(said: list[str], read: str | None, verdict: bool | None) -> None:
    verified = judged("text", {"layout": "poster", "lines": said}, known(read=read))
    assert verified.findings[-1].check == "reading"
    assert verified.findings[-1].ok is verdict
    assert verified.accepted is (verdict is not False)


@pytest.mark.parametrize(
    ("caption", "verdict"),
    [
        ('A sign that says "OPEN" over a door.', True),
        ("A sign that says “0PEN”.", True),
        ('A sign that says "CLOSED".', False),
        ('Signs: "OPEN" and "NEVER MIND".', False),
        ("A sign over a door.", True),
    ],
)
def test_what_a_caption_quotes_was_read(caption: str, verdict: bool) -> None:
    assert judged("general", {"caption": caption}, known(read="WE ARE\nOPEN TODAY")).accepted is verdict


FACTS = {"name": "Velmora", "founded": 1683, "capital": "Fenuna"}


@pytest.mark.parametrize(
    ("caption", "facts", "why"),
    [
        ("The emblem of Velmora, founded in 1683.", ["name", "founded"], ""),
        ("The emblem of Velmora.", ["name", "motto"], "not given"),
        ("The emblem of a realm.", ["name"], "not stated"),
        ("The emblem of Velmora, founded in 1684.", ["name"], "neither given nor visible"),
        ("The emblem of Velmora, seat of King Arthur.", ["name"], "neither given nor visible"),
        ("The emblem of Velmora over the word OPEN.", ["name"], ""),
    ],
)
def test_knowledge_is_given_and_not_invented(caption: str, facts: list[str], why: str) -> None:
    verified = judged("knowledge", {"caption": caption, "facts": facts}, known(facts=FACTS, read="OPEN"))
    assert verified.accepted is (not why)
    assert why in verified.why_not


def test_relations_join_two_listed_entities() -> None:
    for ends in ({"subject": 0, "object": 2}, {"subject": 1, "object": 1}):
        payload = {**SOUND["structured"], "relations": [{"relation": "above", **ends}]}
        assert "relations" in judged("structured", payload).why_not


def test_entities_are_in_the_general_caption() -> None:
    payload = SOUND["structured"]
    assert judged("structured", payload, known(general="Two rings and stars.")).accepted
    assert judged("structured", payload, known(general="A ring.")).accepted
    verified = judged("structured", payload, known(general="A dog on a sofa."))
    assert verified.why_not.startswith("entities 0")
    written = {
        **payload,
        "entities": [{"name": "sign", "attributes": [], "place": "top", "text": "OPEN"}],
        "relations": [],
    }
    assert judged("structured", written, known(general='It says "Open".')).accepted


@pytest.mark.parametrize(
    ("given_", "kinds"),
    [
        (Given(domain="photo"), {"general", "structured"}),
        (Given(domain="photo", read="EXIT"), {"general", "structured", "text"}),
        (Given(domain="photo", read="oo"), {"general", "structured"}),
        (Given(domain="photo", read="山水"), {"general", "structured", "text"}),
        (Given(domain="slide"), {"general", "structured", "text"}),
        (Given(domain="diagram", read="START"), {"general", "structured"}),
        (Given(domain="design", facts={"name": "x"}), {"general", "structured", "knowledge"}),
    ],
)
def test_the_image_decides_which_kinds_it_gets(given_: Given, kinds: set[str]) -> None:
    assert {name for name, kind in CAPTIONERS.items() if kind.serves(given_)} == kinds
