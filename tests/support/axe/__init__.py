"""axe-core, vendored from its npm package with its licence: the rules of WCAG that a program can check."""

from pathlib import Path

from playwright.sync_api import Page

SCRIPT = Path(__file__).with_name("axe-4.14.1.min.js")
_RUN = """
() => axe.run().then(({violations}) =>
    violations.flatMap(({id, nodes}) => nodes.map(({html}) => `${id}: ${html}`)))
"""


def violations(page: Page) -> list[str]:
    """Return what axe finds wrong with a page: the rule and the element of each violation."""
    page.evaluate(SCRIPT.read_text("utf-8"))
    found: list[str] = page.evaluate(_RUN)
    return found
