"""The signed blocks of the log, for auditors. `daftari verify` checks the events under them."""

from typing import Any

from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import require_role
from api.http.schemas.fields import Moment, ResponseSchema
from api.http.schemas.pagination import CursorText, Page, PagedList, PageQuery
from api.issued_tokens import Role
from ledger.store.blocks import Block

blueprint = ApiBlueprint("blocks", __name__, description="The signed blocks of the log, for auditors.")


class BlockQuery(PageQuery):
    """The query of the list of blocks."""

    cursor = CursorText(int, int)


class ShownBlock(ResponseSchema):
    """One block: the events of its origin above one position and up to another.

    `digest` is the SHA-256 of their positions (8 bytes, big-endian) and hashes in the order of positions, `signature`
    an Ed25519 signature of `hash`. Binary values are hex digits; positions may exceed JSON's numbers, so they are text.
    """

    name = fields.String(
        metadata={"description": "Keep it elsewhere, and pass it to `daftari verify --kept-block`."}
    )
    origin = fields.Integer()
    number = fields.Integer()
    after_position = fields.String()
    until_position = fields.String()
    events = fields.Integer()
    digest = fields.String()
    previous_hash = fields.String()
    hash = fields.String()
    public_key = fields.String()
    signature = fields.String()
    signed_at = Moment()
    tree_size = fields.String(
        allow_none=True,
        metadata={
            "description": "How many events the Merkle tree is over; null in blocks from before there was one."
        },
    )
    root_hash = fields.String(allow_none=True, metadata={"description": "The root of that tree (RFC 6962)."})


class BlockList(PagedList):
    """A page of blocks, the latest first."""

    results = fields.List(fields.Nested(ShownBlock))


@blueprint.route("/api/audit/blocks/", methods=["GET"])
@require_role(Role.AUDITOR)
@blueprint.arguments(BlockQuery, location="query")
@blueprint.response(200, BlockList)
def list_blocks(query: dict[str, Any]) -> dict[str, Any]:
    """List the signed blocks.

    The latest first. Each carries the hash of the one before it, and covers every event between two positions.
    """
    page: Page = query["page"]
    count, blocks = current_services().blocks.page(page.place)
    return page.show(count, [_show(block) for block in blocks], [block.key for block in blocks])


def _show(block: Block) -> dict[str, Any]:
    return block.shown() | {"number": block.number, "signed_at": block.signed_at}
