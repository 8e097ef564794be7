"""An API key: how it looks, and what is known of it. Its secret is known to its holder alone."""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ledger.errors import wrong_fields

LIVE, TEST = "dk_live_", "dk_test_"
"""How a key of production begins, and one of development."""

ROLES = ("server", "auditor", "analyst")
"""What a key may be for. None is an operator's: no key decides in a person's stead."""

MAX_NAME = 40
MAX_ADDRESSES = 20

_SECRET_BYTES = 24
_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME - 1}}}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One key of a name. It is good until `ends_at`, None for ever, from `allowed_addresses` if there are any.

    One that is not genuine was written past Daftari, or altered, and opens nothing. `follows` is the id of the key
    whose place it took.
    """

    key_id: str
    name: str
    role: str
    prefix: str
    last_four: str
    allowed_addresses: tuple[IPv4Network | IPv6Network, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    follows: str | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    is_genuine: bool

    @property
    def ends_at(self) -> datetime | None:
        """When it is refused from, by its own end or a revocation."""
        return min(filter(None, (self.expires_at, self.revoked_at)), default=None)

    def is_good(self, now: datetime) -> bool:
        """Whether it is accepted at a time."""
        return self.is_genuine and (self.ends_at is None or now < self.ends_at)

    def admits(self, address: str | None) -> bool:
        """Whether it is accepted from the address of a client, None where that is not known."""
        if not self.allowed_addresses:
            return True
        try:
            sender = ip_address(address or "")
        except ValueError:
            return False
        if isinstance(sender, IPv6Address) and sender.ipv4_mapped:  # On a socket of both families.
            sender = sender.ipv4_mapped
        return any(sender in network for network in self.allowed_addresses)


def prefix_of(*, is_production: bool) -> str:
    """Return how keys begin in a mode."""
    return LIVE if is_production else TEST


def is_api_key(token: str) -> bool:
    """Whether a bearer token is meant to be an API key."""
    return token.startswith((LIVE, TEST))


def new_secret(prefix: str) -> str:
    """Return the text of a new key: 192 bits, in hexadecimal behind the prefix."""
    return prefix + secrets.token_hex(_SECRET_BYTES)


def parse_name(text: str) -> str:
    """Return the name of a key. Raises InvalidValue."""
    if not _NAME.fullmatch(text):
        problem = f"Write 1 to {MAX_NAME} of a-z, 0-9, dot, hyphen and underscore, as in `web-shop`."
        raise wrong_fields({"name": [problem]})
    return text


def parse_addresses(texts: Iterable[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the networks that a key is accepted from. Raises InvalidValue."""
    try:
        networks = tuple(ip_network(text.strip()) for text in texts)
    except ValueError as error:
        problem = f"Write an address or a network, such as 203.0.113.7 or 203.0.113.0/24: {error}."
        raise wrong_fields({"allow": [problem]}) from None
    if len(networks) > MAX_ADDRESSES:
        raise wrong_fields({"allow": [f"A key has at most {MAX_ADDRESSES} networks."]})
    return networks
