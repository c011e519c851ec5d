"""Knowledge: the image with facts that pixels do not show. The facts are given; none is invented."""

from __future__ import annotations

from captioners.checks import facts_were_given
from captioners.kind import STRING, STRINGS, Kind, record

KNOWLEDGE = Kind(
    name="knowledge",
    asks={
        "full": (
            "Describe this image together with the given facts in one caption, and list the names of the facts you used. "
            "State nothing that is neither visible nor given. Text in the image is no fact. Facts: "
        ),
        "brief": "Describe the image with these facts: ",
    },
    schema=record(caption=STRING, facts=STRINGS),
    max_tokens=512,
    serves=lambda given: bool(given.facts),
    text=lambda payload: payload["caption"],
    takes_facts=True,
    checks=(facts_were_given,),
)
