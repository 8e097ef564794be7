"""Each form of URL is compiled once a process: the suite makes thousands of Flask applications with the same routes."""

from types import MethodType
from typing import Any, cast

from werkzeug.routing import Map, Rule

_Compiled = tuple[list[Any], list[Any], dict[str, Any], Any, Any]


def compile_urls_once() -> None:
    """Let rules of the same form share what werkzeug compiles when a rule is bound to a map of URLs."""
    compile_rule = Rule.compile
    compiled: dict[tuple[Any, ...], _Compiled] = {}

    def compile_once(rule: Rule) -> None:
        urls = rule.map
        assert urls is not None
        if rule.defaults or urls.converters != Map.default_converters:
            compile_rule(rule)
            return
        form = rule.rule, rule.host, rule.subdomain, urls.host_matching, rule.merge_slashes
        if form not in compiled:
            compile_rule(rule)
            compiled[form] = (
                rule._parts,
                rule._trace,
                rule._converters,
                cast("MethodType", rule._build).__func__,
                cast("MethodType", rule._build_unknown).__func__,
            )
        rule._parts, rule._trace, rule._converters, build, build_unknown = compiled[form]
        rule.arguments.update(rule._converters)
        rule._build, rule._build_unknown = MethodType(build, rule), MethodType(build_unknown, rule)

    Rule.compile = compile_once  # type: ignore[assignment, method-assign]
