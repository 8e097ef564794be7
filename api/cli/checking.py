"""`daftari check`: is everything that Daftari needs there, and as it should be?"""

import json
import os

import click

from api.cli.failures import IMPOSSIBLE, WRONG_SETTINGS

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


@click.command(short_help="Say in words what is wrong, if anything.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON list.")
@click.pass_context
def check(context: click.Context, as_json: bool) -> None:
    """Look at the settings and at all that they point to, and say what is wrong in words.

    Exit code 0 where nothing is wrong (warnings are not), 1 where something is, 3 where it is the settings.

    \b
    Example: refuse to deploy with anything wrong
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
