"""Counties and subcounties that the shop delivers to, for a form to choose from."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import public
from api.http.schemas.fields import ResponseSchema
from api.http.schemas.pagination import PagedList
from shop.builtin.places import County, Subcounty

blueprint = ApiBlueprint(
    "places", __name__, description="The counties and subcounties that the shop delivers to."
)


class ShownCounty(ResponseSchema):
    """A county; its id is its official code, 1 to 47."""

    county_id = fields.Integer(metadata={"example": 1})
    name = fields.String(metadata={"example": "Mombasa"})


class ShownSubcounty(ResponseSchema):
    """A subcounty of a county."""

    subcounty_id = fields.Integer(metadata={"example": 5})
    county_id = fields.Integer(metadata={"example": 1})
    name = fields.String(metadata={"example": "Mvita"})


class CountyList(PagedList):
    """All counties, by their id."""

    results = fields.List(fields.Nested(ShownCounty))


class SubcountyList(PagedList):
    """All subcounties of a county, by their name."""

    results = fields.List(fields.Nested(ShownSubcounty))


@blueprint.route("/api/places/counties/", methods=["GET"])
@public
@blueprint.response(200, CountyList)
def list_counties() -> dict[str, Any]:
    """List the counties.

    Needs no token.
    """
    return _whole(current_services().builtin_shop.places.counties)


@blueprint.route("/api/places/counties/<int:county_id>/subcounties/", methods=["GET"])
@public
@blueprint.response(200, SubcountyList)
def list_subcounties(county_id: int) -> dict[str, Any]:
    """List a county's subcounties.

    Needs no token.
    """
    return _whole(current_services().builtin_shop.places.subcounties(county_id))


def _whole(places: Sequence[County | Subcounty]) -> dict[str, Any]:
    """Return a list in one page, for clients that read all lists in the same way."""
    return {
        "count": len(places),
        "next": None,
        "previous": None,
        "results": [asdict(place) for place in places],
    }
