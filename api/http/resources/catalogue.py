"""The catalogue: public to read, for operators to change."""

from http import HTTPStatus
from typing import Any

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import caller, public, require_role
from api.http.schemas.catalogue_schemas import CatalogueList, CatalogueListing, ListingChange, show_listing
from api.http.schemas.pagination import Page, PageQuery
from api.issued_tokens import Role
from shop.builtin.catalogue import ListingDraft

blueprint = ApiBlueprint(
    "catalogue", __name__, description="What is on sale, from which farm, at what price."
)


@blueprint.route("/api/catalogue/", methods=["GET"])
@public
@blueprint.arguments(PageQuery, location="query")
@blueprint.refuses("NO_BUILTIN_SHOP")
@blueprint.response(200, CatalogueList)
def list_catalogue(query: dict[str, Any]) -> dict[str, Any]:
    """List what is on sale.

    By listing id. Needs no token.
    """
    page: Page = query["page"]
    on_sale = current_services().shop.catalogue.page(page.number, page.size)
    return page.show(on_sale.count, [show_listing(listing) for listing in on_sale.listings])


@blueprint.route("/api/catalogue/<int:listing_id>/", methods=["GET"])
@public
@blueprint.refuses("LISTING_NOT_FOUND", "NO_BUILTIN_SHOP")
@blueprint.response(200, CatalogueListing)
def show_one_listing(listing_id: int) -> dict[str, Any]:
    """Show a listing.

    One that is no longer on sale is shown too, as `withdrawn`. Needs no token.
    """
    return show_listing(current_services().shop.catalogue.get(listing_id))


@blueprint.route("/api/catalogue/<int:listing_id>/", methods=["PUT"])
@require_role(Role.OPERATOR)
@blueprint.arguments(ListingChange)
@blueprint.refuses("NO_BUILTIN_SHOP")
@blueprint.response(200, CatalogueListing)
@blueprint.alt_response(201, schema=CatalogueListing, description="A new listing")  # type: ignore[untyped-decorator]  # flask-smorest has no types
def put_listing(draft: ListingDraft, listing_id: int) -> tuple[dict[str, Any], int]:
    """Make or change a listing.

    The body replaces the listing; without `stock` the stock stays as it is. 201 where the listing is new.
    """
    listing, is_new = current_services().shop.catalogue.put(listing_id, draft, caller().user_id)
    return show_listing(listing), HTTPStatus.CREATED if is_new else HTTPStatus.OK
