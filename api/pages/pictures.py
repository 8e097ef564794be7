"""The pictures of goods: drawings that the shop's pages have for some products, found by the product's name."""

import re
from pathlib import Path

FOLDER = "goods"
ANY_GOODS = "basket"
"""The picture of a product without one of its own."""

_PICTURES = frozenset(file.stem for file in Path(__file__).parent.glob(f"static/{FOLDER}/*.svg"))


def picture_of(product_name: str) -> str:
    """Return the static file with a product's picture: `Fresh Milk` has `goods/fresh-milk.svg`, if there is one."""
    name = re.sub("[^a-z0-9]+", "-", product_name.lower()).strip("-")
    return f"{FOLDER}/{name if name in _PICTURES else ANY_GOODS}.svg"
