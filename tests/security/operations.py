"""The operations of the OpenAPI document, and requests to them that name what is there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests

from api.http.streaming.long_poll import EVENT_STREAM
from tests.security.world import SERVER, World

METHODS = ("get", "post", "put", "patch", "delete")
CUSTOMER = ["customer"]


@dataclass(frozen=True)
class Operation:
    """One operation of the document; `roles` are those of which a caller needs one."""

    method: str
    path: str
    described: dict[str, Any]

    @property
    def is_public(self) -> bool:
        return not self.described["security"]

    @property
    def roles(self) -> list[str]:
        roles: list[str] = self.described.get("x-roles", [])
        return roles

    @property
    def is_of_a_buyer(self) -> bool:
        """Whether it names something that belongs to one buyer."""
        return "customer" in self.roles and ("{session_id}" in self.path or "{order_id}" in self.path)

    @property
    def is_of_staff(self) -> bool:
        """Whether it is for others than those whose own it shows: buyers, and servers for them."""
        return bool(set(self.roles) - {*CUSTOMER, *SERVER})

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


def operations(world: World) -> Iterator[Operation]:
    """Yield every operation of the document, those that change least first."""
    for method in METHODS:
        for path, item in world.document["paths"].items():
            if method in item:
                yield Operation(method, path, item[method])


def call(world: World, operation: Operation, token: str | None, **request: Any) -> requests.Response:
    """Send a request to an operation: what OWNER has is named in its path, and the body is an empty object.

    Of a stream it reads nothing, which would take as long as the stream lasts.
    """
    known = dict(world.known)
    if operation.is_of_staff and "/refunds/" in operation.path:
        known["session_id"] = known["refund_session_id"]
    path = operation.path
    for name, value in known.items():
        path = path.replace(f"{{{name}}}", value)
    headers = request.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    if operation.method != "get" and not operation.is_public:
        request.setdefault("json", {})
    with requests.Session() as session:
        session.trust_env = False
        answer = session.request(
            operation.method,
            world.instance.base_url + path,
            headers=headers,
            timeout=30,
            stream=True,
            **request,
        )
        if answer.headers["Content-Type"].startswith(EVENT_STREAM):
            answer._content = b""
            answer.close()
        else:
            answer.content  # noqa: B018 - it is read here, before the connection closes
        return answer
