"""The names of a database's roles, which settings hold; what they may is in roles.py."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Roles:
    """The names of the three roles, and of the group of the analysts' logins."""

    owner: str = "daftari_owner"
    migrator: str = "daftari_migrator"
    app: str = "daftari_app"

    @property
    def analysts(self) -> str:
        """The group that may read the views for analysts; it is there once an analyst is."""
        return f"{self.app}_analysts"


DEFAULT_ROLES = Roles()
