"""Whether production may use a database in the way that the settings say: as whom, and over which network."""

from api.setting_rules import ConfigurationError
from api.settings import Settings
from ledger.store.logins import is_private, is_restored_without_migrating, why_too_strong


def require_safe_database(settings: Settings) -> None:
    """Raise ConfigurationError if production would reach its database as its owner, or on a way that others can read.

    Raises Unavailable where the database does not answer.
    """
    problems = database_problems(settings) if settings.is_production else []
    if is_restored_without_migrating(settings.database_url):
        problems.append(
            "This database was restored from a dump, and new events would sort below old ones: type `daftari migrate`."
        )
    if problems:
        raise ConfigurationError(problems)


def database_problems(settings: Settings) -> list[str]:
    """Say why production must not use this DATABASE_URL; nothing if it may. Raises Unavailable."""
    problems = []
    if found := why_too_strong(settings.database_url, settings.roles):
        problems.append(
            f"DATABASE_URL is too strong. {found} Whoever takes over a process could then rewrite the log: log in as "
            f"{settings.daftari_app_role}, and give DAFTARI_MIGRATION_URL the login that migrates. "
            "`daftari check` prints the SQL that makes them."
        )
    if settings.daftari_database_tls == "verified" and not is_private(settings.database_url):
        problems.append(
            "DATABASE_URL goes to another machine without verifying it: add sslmode=verify-full (with "
            "sslrootcert=system or the certificate of its authority), or set DAFTARI_DATABASE_TLS=any if the network "
            "is private."
        )
    return problems
