"""What a command works with: the database, or all services, opened from the environment and closed afterwards."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.cli.failures import NOT_AVAILABLE, WRONG_SETTINGS, Failure, read_settings
from api.http.middleware.logging import configure_logging
from api.local.databases import open_database as open_database_of
from api.local.databases import server_major
from api.settings import Settings
from ledger.store.database import Database

if TYPE_CHECKING:
    from payments.services import Services


@contextmanager
def open_database() -> Iterator[tuple[Settings, Database]]:
    """Open the database that the settings name; raise ConfigurationError, DatabaseProblem.

    What the command prints is its result, so the log has errors alone.
    """
    settings = read_settings()
    configure_logging(settings.daftari_log_format, lowest_level=logging.ERROR)
    with open_database_of(
        settings.database_url, settings.daftari_database_connections, settings.daftari_app_role
    ) as database:
        yield settings, database


@contextmanager
def open_database_as_migrator() -> Iterator[tuple[Settings, Database]]:
    """Open the database for what processes may not do, with the rights of the login that migrates; raise as above."""
    settings = read_settings()
    configure_logging(settings.daftari_log_format, lowest_level=logging.ERROR)
    with open_database_of(settings.migration_url, max_connections=2, role="") as database:
        yield settings, database


@contextmanager
def open_services() -> Iterator["Services"]:
    """Open all services, M-Pesa's client included; whatever M-Pesa refuses becomes a Failure."""
    from api.wiring import build_services
    from daraja import InvalidConfig, Refused, SubmissionError

    settings = read_settings()
    configure_logging(settings.daftari_log_format, lowest_level=logging.ERROR)
    server_major(settings.database_url)
    try:
        services = build_services(settings)
    except InvalidConfig as error:
        raise Failure(f"{error.setting}: {error.message}", WRONG_SETTINGS) from error
    try:
        yield services
    except Refused as error:
        raise Failure(error.message) from error
    except SubmissionError as error:
        raise Failure(error.message, NOT_AVAILABLE) from error
    finally:
        services.close()
