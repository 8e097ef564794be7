"""The buyers of sample sessions: nobody's name, and phones of a range that no network has."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

FIRST_BUYER = 4_444_000_000_000_000
"""Their user ids begin here, which no shop gives; below the ids that Daftari itself gives users named by text."""
BUYERS_A_SEED = 1_000_000_000
MAX_SEED = 900
PAST_LAST_BUYER = FIRST_BUYER + (MAX_SEED + 1) * BUYERS_A_SEED

_FIRST_PHONE, _PHONES = 254_190_000_000, 10_000_000
_GIVEN = (
    *("Achieng", "Akinyi", "Barasa", "Chebet", "Fatuma", "Halima", "Juma", "Kamau", "Kipchoge", "Makena"),
    *("Moraa", "Mutua", "Naliaka", "Njeri", "Nyambura", "Otieno", "Rehema", "Wafula", "Wairimu", "Wanjiku"),
)
_NAIROBI = 47
# By county, in thousands: people at the census of 2019, more where more is bought on line.
_BUYING = {1: 2400, 22: 4800, 32: 3200, 42: 1800, 27: 1700, 34: 1700, _NAIROBI: 18000}
_POPULATION = (
    *(
        1208,
        867,
        1454,
        316,
        144,
        341,
        841,
        781,
        867,
        460,
        268,
        1546,
        393,
        609,
        1136,
        1422,
        988,
        638,
        759,
        610,
    ),
    *(1057, 2418, 927, 621, 310, 990, 1163, 454, 886, 667, 519, 2162, 1158, 1118, 902, 876, 1868, 590, 1671),
    *(894, 993, 1156, 1132, 1117, 1267, 606, 4397),
)


@dataclass(frozen=True, slots=True)
class Person:
    """A buyer: the user id, and what they type at a checkout."""

    user_id: int
    county_id: int
    subcounty_id: int
    phone: str = field(repr=False)
    name: str = field(repr=False)


class People:
    """The buyers of a seed, who are always the same; `places` are the ids of county and subcounty."""

    def __init__(self, seed: int, places: Sequence[tuple[int, int]]) -> None:
        self._seed = seed
        self._places = sorted(places)
        of_county = [county for county, _ in self._places]
        weights = [_weight(county) / of_county.count(county) for county in of_county]
        self._passed = list(accumulate(weights))

    def person(self, number: int) -> Person:
        """Return the buyer of a number from 0 on."""
        mixed = (number * 2_654_435_761 + self._seed * 40_503) % 2**32
        place = min(bisect_right(self._passed, mixed / 2**32 * self._passed[-1]), len(self._places) - 1)
        county_id, subcounty_id = self._places[place]
        given, family = _GIVEN[mixed % len(_GIVEN)], _GIVEN[mixed // 7 % len(_GIVEN)]
        phone = str(_FIRST_PHONE + (number + self._seed * 11_113) % _PHONES)
        user_id = FIRST_BUYER + self._seed * BUYERS_A_SEED + number
        return Person(user_id, county_id, subcounty_id, phone, f"{given} {family} (sample)")


def _weight(county_id: int) -> float:
    known = _POPULATION[county_id - 1] if 0 < county_id <= len(_POPULATION) else 100
    return _BUYING.get(county_id, known)
