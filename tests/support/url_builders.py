"""Each form of URL is compiled once a process: the suite makes thousands of Flask applications with the same routes."""

from collections.abc import Callable
from typing import Any

from werkzeug.routing import Rule

_Builder = Callable[..., tuple[str, str]]


def compile_url_builders_once() -> None:
    """Let rules of the same form share their compiled builder, which werkzeug binds to each rule."""
    compile_builder: Callable[[Rule, bool], _Builder] = Rule._compile_builder
    compiled: dict[tuple[Any, ...], _Builder] = {}

    def compile_once(rule: Rule, append_unknown: bool = True) -> _Builder:
        if rule.defaults:
            return compile_builder(rule, append_unknown)
        form = rule.rule, tuple(rule._trace), append_unknown
        if form not in compiled:
            compiled[form] = compile_builder(rule, append_unknown)
        return compiled[form]

    Rule._compile_builder = compile_once  # type: ignore[assignment, method-assign]
