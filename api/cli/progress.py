"""How far a command has got, shown on a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click

_STEPS = 1_000


class Show(Protocol):
    """Shows a share of the whole, from 0 to 1, and perhaps by what name the present step goes."""

    def __call__(self, share: float, step: str | None = None, /) -> None:
        """Show it."""


@contextmanager
def progress_bar(label: str) -> Iterator[Show]:
    """Lend a bar on the errors' stream, so that what a command prints stays clean; none where that is no terminal."""
    errors = sys.stderr
    with click.progressbar(length=_STEPS, label=label, file=errors, hidden=not errors.isatty()) as bar:

        def show(share: float, step: str | None = None, /) -> None:
            bar.label = step or bar.label
            bar.update(int(_STEPS * share) - bar.pos)

        yield show
