"""The schemas of listings: what an operator sends, and what everyone sees."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from flask import request
from marshmallow import ValidationError, fields, post_load

from api.http.framework.json import amount, quantity
from api.http.schemas.decimals import DecimalField
from api.http.schemas.fields import RequestSchema, ResponseSchema, Text, WholeNumber
from api.http.schemas.pagination import PagedList
from shop.builtin.catalogue import (
    MAX_NAME_CHARACTERS,
    MAX_PRICE_CENTS,
    MAX_STOCK_THOUSANDTHS,
    MAX_UNIT_CHARACTERS,
    MAX_UNIT_WEIGHT_GRAMS,
    Listing,
    ListingDraft,
)


class Line(Text):
    """One line of printable text."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if not text.isprintable():
            raise ValidationError("Write one line of printable characters.")
        return text


class Flag(fields.Boolean):
    """A JSON boolean, and nothing that only resembles one."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Write true or false.")
        return value


class ListingChange(RequestSchema):
    """A listing as an operator sends it. It replaces the earlier one; only a stock that is left out is kept."""

    product_name = Line(required=True, most=MAX_NAME_CHARACTERS, metadata={"example": "Fresh Tomatoes"})
    farm_name = Line(required=True, most=MAX_NAME_CHARACTERS, metadata={"example": "Green Valley Farm"})
    price = DecimalField(
        required=True,
        decimals=2,
        least=Decimal("0.01"),
        most=Decimal(MAX_PRICE_CENTS // 100),
        metadata={"example": "150.00", "description": "Shillings for one unit."},
    )
    unit_of_measure = Line(required=True, most=MAX_UNIT_CHARACTERS, metadata={"example": "kg"})
    stock = DecimalField(
        load_default=None,
        decimals=3,
        least=Decimal(0),
        most=Decimal(MAX_STOCK_THOUSANDTHS // 1_000),
        metadata={
            "example": "40",
            "description": "Units in stock, counted now. Leave it out to keep the present stock.",
        },
    )
    unit_weight_grams = WholeNumber(
        least=0,
        most=MAX_UNIT_WEIGHT_GRAMS,
        load_default=0,
        metadata={
            "example": 1000,
            "description": "The weight of a unit, which the delivery fee depends on.",
        },
    )
    withdrawn = Flag(load_default=False, metadata={"description": "No longer on sale."})
    listing_id = WholeNumber(
        metadata={
            "description": "As it is shown, so that a listing can be sent back; the path says which one it is."
        }
    )

    @post_load
    def _to_draft(self, data: dict[str, Any], **_: Any) -> ListingDraft:
        path: Mapping[str, Any] = request.view_args or {}
        if data.pop("listing_id", None) not in (None, path.get("listing_id")):
            raise ValidationError("This is not the listing of the path.", "listing_id")
        price: Decimal = data.pop("price")
        stock: Decimal | None = data.pop("stock")
        return ListingDraft(
            price_cents=int(price.scaleb(2)),
            stock_thousandths=None if stock is None else int(stock.scaleb(3)),
            **data,
        )


class CatalogueListing(ResponseSchema):
    """One product of one farm, as it is sold now."""

    listing_id = fields.Integer(metadata={"example": 123})
    product_name = fields.String(metadata={"example": "Fresh Tomatoes"})
    farm_name = fields.String(metadata={"example": "Green Valley Farm"})
    price = fields.Decimal(metadata={"example": Decimal("150.00")})
    unit_of_measure = fields.String(metadata={"example": "kg"})
    stock = fields.Decimal(metadata={"example": Decimal("40.0")})
    unit_weight_grams = fields.Integer(metadata={"example": 1000})
    withdrawn = fields.Boolean(metadata={"description": "No longer on sale."})


class CatalogueList(PagedList):
    """A page of the listings on sale, by id."""

    results = fields.List(fields.Nested(CatalogueListing))


def show_listing(listing: Listing) -> dict[str, Any]:
    """Return a listing with its price in shillings and its stock in units."""
    return {
        "listing_id": listing.listing_id,
        "product_name": listing.product_name,
        "farm_name": listing.farm_name,
        "price": amount(listing.price_cents),
        "unit_of_measure": listing.unit_of_measure,
        "stock": quantity(listing.stock_thousandths),
        "unit_weight_grams": listing.unit_weight_grams,
        "withdrawn": listing.withdrawn,
    }
