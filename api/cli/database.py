"""`daftari psql`, `pg-dump` and `restore-dump`: the right client program on the right database."""

from pathlib import Path

import click

from api.cli.failures import Failure, read_settings

_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}


@click.command(context_settings=_PASSED_ON, short_help="Open the database in psql.")
@click.option(
    "--as-migrator", is_flag=True, help="With the rights of DAFTARI_MIGRATION_URL, which may change tables."
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def psql(context: click.Context, as_migrator: bool, arguments: tuple[str, ...]) -> None:
    """Open the database in psql, with the application's rights. ARGUMENTS are psql's own.

    \b
    Example
      daftari psql -c 'SELECT session_status, count(*) FROM payment_sessions GROUP BY 1'
    """
    from api.local.clients import run_client

    settings = read_settings()
    url = settings.migration_url if as_migrator else settings.database_url
    context.exit(run_client(settings, "psql", url, arguments))


@click.command(name="pg-dump", context_settings=_PASSED_ON, short_help="Dump the database with pg_dump.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def pg_dump(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Dump the database, with a pg_dump as new as its server. ARGUMENTS are pg_dump's own.

    Owners and rights are left out: `daftari restore-dump` gives them anew. Keep DAFTARI_MASTER_KEY elsewhere.

    \b
    Example
      daftari pg-dump --format=custom --file=daftari.dump
    """
    from api.local.clients import run_client

    settings = read_settings()
    options = ("--no-owner", "--no-privileges", *arguments)
    context.exit(run_client(settings, "pg_dump", settings.migration_url, options))


@click.command(name="restore-dump", short_help="Restore a dump into an empty database.")
@click.argument("dump", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def restore_dump(context: click.Context, dump: Path) -> None:
    """Restore DUMP into the empty database of DAFTARI_MIGRATION_URL, and verify it.

    Migrates it, gives the roles their rights, lets new events sort above those of the dump, and checks that
    DAFTARI_MASTER_KEY is the one that the dump was made with.

    \b
    Example
      createdb --owner=daftari_owner daftari2
      DAFTARI_MIGRATION_URL=postgresql://daftari_migrator:secret@db/daftari2 \\
      DATABASE_URL=postgresql://daftari_app:secret@db/daftari2 daftari restore-dump daftari.dump
    """
    from api.cli.verify import verify
    from api.local.clients import restore_dump as restore

    settings = read_settings()
    if not settings.database_url:
        raise Failure(
            "Name the empty database in DAFTARI_MIGRATION_URL, and in DATABASE_URL as the application."
        )
    for name in restore(settings, dump):
        click.echo(f"applied {name}")
    click.echo("The dump is restored. Verifying it ...")
    context.invoke(verify)
