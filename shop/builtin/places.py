"""The places of delivery: Kenya's counties and subcounties, from tables filled by a migration."""

from dataclasses import dataclass
from functools import cached_property

from ledger.errors import NotFound
from ledger.store.database import Database
from shop.port import UnknownPlace

COUNTIES = "SELECT county_id, name FROM shop_counties ORDER BY county_id"
SUBCOUNTIES = "SELECT subcounty_id, county_id, name FROM shop_subcounties ORDER BY name"


@dataclass(frozen=True, slots=True)
class County:
    """A county; its id is its official code, 1 to 47."""

    county_id: int
    name: str


@dataclass(frozen=True, slots=True)
class Subcounty:
    """A subcounty of one county."""

    subcounty_id: int
    county_id: int
    name: str


class Places:
    """The counties and subcounties; read once, because only a migration changes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @cached_property
    def counties(self) -> tuple[County, ...]:
        """All counties by their code."""
        with self._database.connection() as connection:
            return tuple(County(**row) for row in connection.execute(COUNTIES))

    @cached_property
    def _subcounties(self) -> dict[int, Subcounty]:
        with self._database.connection() as connection:
            return {row["subcounty_id"]: Subcounty(**row) for row in connection.execute(SUBCOUNTIES)}

    def subcounties(self, county_id: int) -> tuple[Subcounty, ...]:
        """Return a county's subcounties by name; raises NotFound for an unknown county."""
        found = tuple(place for place in self._subcounties.values() if place.county_id == county_id)
        if not found:
            raise NotFound("There is no such county; ids are the official codes 1 to 47.")
        return found

    def unknown(self, county_id: int, subcounty_id: int) -> UnknownPlace | None:
        """Say what is wrong with a place, None if both exist and the subcounty is in the county."""
        place = self._subcounties.get(subcounty_id)
        if place is not None and place.county_id == county_id:
            return None
        exists = any(county.county_id == county_id for county in self.counties)
        return UnknownPlace.SUBCOUNTY if exists else UnknownPlace.COUNTY
