"""Which suite runs a case: one of each kind is in `make test`, and `make test-system` runs the others."""

from collections.abc import Iterable
from typing import Any

import pytest
from _pytest.mark import ParameterSet


def others_in_system(cases: Iterable[Any], *at_once: Any) -> list[ParameterSet]:
    """Return the parameters of a test that `make test` runs with the cases `at_once` alone."""
    return [pytest.param(case, marks=() if case in at_once else pytest.mark.system) for case in cases]
