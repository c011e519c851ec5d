"""The four kinds of captions: what is asked, in which shape it is answered, and when an answer counts."""

from captioners.kind import Given, Kind
from captioners.registry import CAPTIONERS

__all__ = ["CAPTIONERS", "Given", "Kind"]
