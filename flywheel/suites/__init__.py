"""Suites of prompts and their own scoring rules. Pure: what judges saw of a picture comes in, scores by facet go out."""

from flywheel.suites.registry import SUITES as SUITES
