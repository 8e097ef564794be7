"""`daftari check`: the preflight check of settings, database and M-Pesa."""

import json
import os

import click

from api.cli.failures import IMPOSSIBLE, WRONG_SETTINGS

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


@click.command(short_help="Check the configuration before you deploy.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON list.")
@click.pass_context
def check(context: click.Context, as_json: bool) -> None:
    """Check the settings and everything they point to, and say how to fix what is wrong.

    Exits with 0 if there are at most warnings, with 1 if there is a problem, with 3 if it is in the settings.

    \b
    Example: do not deploy a broken configuration
      daftari check || exit 1
    """
    from api.local.preflight import Level, run_preflight_checks

    findings = list(run_preflight_checks(os.environ))
    if as_json:
        named = [{"part": each.part, "verdict": each.level, "sentence": each.message} for each in findings]
        click.echo(json.dumps(named, indent=2))
    else:
        for finding in findings:
            mark, colour = _MARKS[finding.level]
            click.echo(f"{click.style(mark, fg=colour)} {finding.part}: {finding.message}")
    problems = [finding.part for finding in findings if finding.level is Level.PROBLEM]
    if problems:
        context.exit(WRONG_SETTINGS if "settings" in problems else IMPOSSIBLE)
