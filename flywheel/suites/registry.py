"""The suites that a file may be of: one file here and one line each."""

from __future__ import annotations

from collections.abc import Mapping

from flywheel.suites import dpg, geneval, longtext, own, parti
from flywheel.suites.item import Suite

SUITES: Mapping[str, Suite] = {
    "geneval": geneval.SUITE,
    "dpg": dpg.SUITE,
    "parti": parti.SUITE,
    "longtext": longtext.SUITE,
    "own": own.SUITE,
}
