"""How a refusal becomes a sentence and an exit code."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from api.local.local_settings import local_settings
from api.local.ports import PortBusy
from api.local.problems import DatabaseProblem, FolderBusy, LocalRuntimeError
from api.settings import ConfigurationError, Settings
from ledger.errors import WRONG_MASTER_KEY, InvalidValue, LedgerError, Unavailable

IMPOSSIBLE = 1
WRONG_SETTINGS = 3
NOT_AVAILABLE = 4
STOPPED = 130


class Failure(click.ClickException):
    """Ends a command with a sentence on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int = IMPOSSIBLE) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print one line for each problem."""
        for line in self.message.splitlines():
            click.echo(f"Error: {line}", err=True, file=file)


class FailureGroup(click.Group):
    """Commands whose refusals are sentences and never tracebacks; they are listed in the order they were added."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            with told_in_words():
                return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            raise click.exceptions.Exit(STOPPED) from None

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands as we chose to show them."""
        return list(self.commands)


@contextmanager
def told_in_words() -> Iterator[None]:
    """Turn what our own code refuses into a Failure; anything else is a fault of ours and stays a traceback."""
    try:
        yield
    except ConfigurationError as error:
        raise Failure(error.message, WRONG_SETTINGS) from error
    except (DatabaseProblem, FolderBusy, PortBusy) as error:
        raise Failure(error.message, NOT_AVAILABLE) from error
    except Unavailable as error:
        raise Failure(error.message, NOT_AVAILABLE) from error
    except LocalRuntimeError as error:
        raise Failure(error.message) from error
    except InvalidValue as error:
        told = [f"{field}: {description}" for field, said in error.errors.items() for description in said]
        raise Failure("\n".join(told) or error.message) from error
    except LedgerError as error:
        raise Failure(
            error.message, WRONG_SETTINGS if error.code == WRONG_MASTER_KEY else IMPOSSIBLE
        ) from error


def read_settings() -> Settings:
    """Read the settings from this process's environment."""
    return local_settings(os.environ)
