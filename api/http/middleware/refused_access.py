"""Attempts at what a caller's roles do not allow: each leaves an entry in the audit log.

A member of the staff, or a customer or a server who tries what is for the staff. The same one of these at the same
route leaves one entry a minute and process, for there are many of them, and entries stay for ever.
"""

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any

from flask import request

from api.http.framework.services import current_services
from ledger import clock

REFUSED = "access_refused"
ONCE_IN_SECONDS = 60
MAX_REMEMBERED = 10_000

_remembered: OrderedDict[tuple[str, str], float] = OrderedDict()
_lock = Lock()


def record_refusal(actor: str, roles: frozenset[str], named: Mapping[str, Any], *, is_staff: bool) -> None:
    """Append an entry about a request that was refused to an actor of these roles; `named` are the ids in the path."""
    route = f"{request.method} {request.url_rule}"
    if not is_staff and _is_repeated(actor, route):
        return
    ids = {name: str(value) for name, value in named.items() if name.endswith("_id")}
    current_services().audit_log.record(
        None,
        REFUSED,
        actor=actor,
        subject=f"session:{ids['session_id']}" if "session_id" in ids else "",
        details={"what": route, "roles": sorted(roles), **ids},
    )


def _is_repeated(actor: str, route: str) -> bool:
    now = clock.now().timestamp()
    with _lock:
        last = _remembered.get((actor, route))
        if last is not None and 0 <= now - last < ONCE_IN_SECONDS:
            return True
        _remembered[actor, route] = now
        _remembered.move_to_end((actor, route))
        if len(_remembered) > MAX_REMEMBERED:
            _remembered.popitem(last=False)
    return False
