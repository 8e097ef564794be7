"""Errors of commands: a message and an exit code, never a traceback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from api.settings import Settings

IMPOSSIBLE = 1
WRONG_SETTINGS = 3
NOT_AVAILABLE = 4
STOPPED = 130


class Failure(click.ClickException):
    """Ends a command with a message on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int = IMPOSSIBLE) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print one line for each problem."""
        for line in self.message.splitlines():
            click.echo(f"Error: {line}", err=True, file=file)


class FailureGroup(click.Group):
    """Commands whose expected errors are messages."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            with errors_as_failures():
                return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            raise click.exceptions.Exit(STOPPED) from None


@contextmanager
def errors_as_failures() -> Iterator[None]:
    """Turn expected errors into a Failure; any other is a bug and keeps its traceback."""
    from api.local.problems import DatabaseProblem, FolderBusy, LocalRuntimeError, PortBusy
    from api.setting_rules import ConfigurationError
    from ledger.errors import WRONG_MASTER_KEY, InvalidValue, LedgerError, Unavailable

    try:
        yield
    except ConfigurationError as error:
        raise Failure(error.message, WRONG_SETTINGS) from error
    except (DatabaseProblem, FolderBusy, PortBusy, Unavailable) as error:
        raise Failure(error.message, NOT_AVAILABLE) from error
    except LocalRuntimeError as error:
        raise Failure(error.message) from error
    except InvalidValue as error:
        problems = [f"{field}: {problem}" for field, found in error.errors.items() for problem in found]
        raise Failure("\n".join(problems) or error.message) from error
    except LedgerError as error:
        exit_code = WRONG_SETTINGS if error.code == WRONG_MASTER_KEY else IMPOSSIBLE
        raise Failure(error.message, exit_code) from error


def is_text(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return an argument that is text, as a callback of click; bytes that are no UTF-8 can be stored nowhere."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise click.BadParameter("this is no text in UTF-8.", ctx, param) from None
    return value


def read_settings() -> "Settings":
    """Return the settings of this process; raise ConfigurationError, LocalRuntimeError."""
    from api.local.local_settings import local_settings

    return local_settings(os.environ)
