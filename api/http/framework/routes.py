"""Routes by a table: where a request of a hot endpoint goes is looked up by its path, not matched with every rule."""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any
from uuid import UUID

from werkzeug.routing import Map, Rule

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Route = tuple[Rule, dict[str, Any]]
"""A rule, and the values of its variables."""

_VARIABLE = re.compile("<([a-z]+):([a-z_]+)>")
_UUID = re.compile("[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_HOST = re.compile(r"(?!\.)(?!.*\.\.)(?!.*[^.:]{64})[0-9A-Za-z.:_\[\]-]*")


class Routes:
    """The rules of some endpoints. A rule has no variable, or one: a UUID anywhere, or text as the last segment.

    HEAD and OPTIONS, paths beyond ASCII, odd hosts and other protocols are left to werkzeug's map.
    """

    def __init__(self, rules: Map, endpoints: Collection[str]) -> None:
        self._plain: dict[tuple[str, str], Rule] = {}
        self._of_uuid: dict[tuple[str, str, str], tuple[Rule, str]] = {}
        self._of_text: dict[tuple[str, str], tuple[Rule, str]] = {}
        for rule in rules.iter_rules():
            if rule.endpoint in endpoints:
                for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                    self._add(rule, method)

    def find(self, environ: "WSGIEnvironment") -> Route | None:
        """Return the route of a request, None where the map has to find it."""
        path: str = environ.get("PATH_INFO", "")
        if (
            not path.isascii()
            or environ.get("SCRIPT_NAME")
            or "HTTP_UPGRADE" in environ
            or not _HOST.fullmatch(environ.get("HTTP_HOST", ""))
        ):
            return None
        return self._find(environ["REQUEST_METHOD"], path)

    def _add(self, rule: Rule, method: str) -> None:
        parts = _VARIABLE.split(rule.rule)
        if len(parts) == 1:
            self._plain.setdefault((method, rule.rule), rule)
        elif len(parts) == 4 and parts[1] == "uuid":
            self._of_uuid.setdefault((method, parts[0], parts[3]), (rule, parts[2]))
        elif parts[1:2] + parts[3:] == ["string", "/"]:
            self._of_text.setdefault((method, parts[0]), (rule, parts[2]))

    def _find(self, method: str, path: str) -> Route | None:
        plain = self._plain.get((method, path))
        if plain is not None:
            return plain, dict(plain.defaults or ())
        value: UUID | str
        identifier = _UUID.search(path)
        if identifier is not None:
            value = UUID(identifier[0])
            found = self._of_uuid.get((method, path[: identifier.start()], path[identifier.end() :]))
        else:
            before, _, value = path[:-1].rpartition("/")
            found = self._of_text.get((method, f"{before}/")) if value and path.endswith("/") else None
        return None if found is None else (found[0], {found[1]: value})
