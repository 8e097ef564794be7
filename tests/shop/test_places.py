from collections import Counter

import pytest

from ledger.errors import NotFound
from shop.builtin import BuiltinShop
from shop.port import UnknownPlace


def test_kenya_has_47_counties_under_their_official_codes(shop: BuiltinShop) -> None:
    counties = shop.places.counties
    assert [county.county_id for county in counties] == list(range(1, 48))
    names = {county.county_id: county.name for county in counties}
    assert (names[1], names[30], names[47]) == ("Mombasa", "Baringo", "Nairobi")


def test_every_subcounty_is_in_one_county_and_every_county_has_some(shop: BuiltinShop) -> None:
    places = [place for county_id in range(1, 48) for place in shop.places.subcounties(county_id)]
    counted = Counter(place.subcounty_id for place in places)
    assert sorted(counted) == list(range(1, 324))
    assert set(counted.values()) == {1}
    assert min(Counter(place.county_id for place in places).values()) >= 2


def test_names_have_their_usual_spelling(shop: BuiltinShop) -> None:
    for county_id in range(1, 48):
        names = [place.name for place in shop.places.subcounties(county_id)]
        assert len(names) == len(set(names))
        assert not [name for name in names if name.upper() == name or name != name.strip() or "ounty" in name]


def test_mvita_in_mombasa_is_subcounty_5(shop: BuiltinShop) -> None:
    assert {place.subcounty_id: place.name for place in shop.places.subcounties(1)}[5] == "Mvita"


@pytest.mark.parametrize(
    ("county_id", "subcounty_id", "unknown"),
    [
        (1, 5, None),
        (2, 5, UnknownPlace.SUBCOUNTY),
        (1, 9_999, UnknownPlace.SUBCOUNTY),
        (48, 5, UnknownPlace.COUNTY),
        (0, 0, UnknownPlace.COUNTY),
        (1, -5, UnknownPlace.SUBCOUNTY),
        (1, 2**70, UnknownPlace.SUBCOUNTY),
    ],
)
def test_a_subcounty_is_known_in_its_own_county_only(
    shop: BuiltinShop, county_id: int, subcounty_id: int, unknown: UnknownPlace | None
) -> None:
    assert shop.unknown_place(county_id, subcounty_id) is unknown


def test_a_county_that_does_not_exist_has_no_subcounties(shop: BuiltinShop) -> None:
    with pytest.raises(NotFound):
        shop.places.subcounties(48)
