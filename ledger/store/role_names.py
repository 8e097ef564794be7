"""The names of a database's roles, which settings hold; what they may is in roles.py."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Roles:
    """The names of the three roles."""

    owner: str = "daftari_owner"
    migrator: str = "daftari_migrator"
    app: str = "daftari_app"


DEFAULT_ROLES = Roles()
