"""An operator who takes goods out of stock while buyers pay for them: their money must go back."""

import json
import time
from random import Random

from api.issued_tokens import Role, make_token
from shop.demo import LISTINGS
from tests.bench.connection import BadAnswer, Connection
from tests.torture.system import System

STOCK = "5000"
EMPTIED_AT_ONCE = 8
OPERATOR = 1_000_000
_TRIES = 20
_BETWEEN_TRIES_SECONDS = 0.5
_TOKEN_MINUTES = 24 * 60


class StockFaults:
    """The stock of the demo shop, set through the operator's API."""

    def __init__(self, system: System, random_source: Random) -> None:
        self._port = system.api_port
        self._auth = f"Bearer {make_token(system.settings, OPERATOR, [Role.OPERATOR], _TOKEN_MINUTES)}"
        self._random = random_source
        self._empty: list[tuple[int, str, str, int, str, int]] = []

    def empty(self) -> int:
        """Set the stock of a few listings to zero; return of how many."""
        self._empty = self._random.sample(LISTINGS, EMPTIED_AT_ONCE)
        return sum(self._put(listing, "0") for listing in self._empty)

    def refill(self) -> None:
        """Restock those listings."""
        for listing in self._empty:
            self._put(listing, STOCK)

    def _put(self, listing: tuple[int, str, str, int, str, int], stock: str) -> bool:
        """Set the stock of a listing, with retries; return whether an answer came."""
        listing_id, farm, product, price_cents, unit, _ = listing
        wanted = {
            "farm_name": farm,
            "product_name": product,
            "price": f"{price_cents // 100}.{price_cents % 100:02}",
            "unit_of_measure": unit,
            "stock": stock,
        }
        with Connection(self._port) as connection:
            for _ in range(_TRIES):
                try:
                    path = f"/api/catalogue/{listing_id}/"
                    status, _ = connection.request("PUT", path, self._auth, json.dumps(wanted).encode())
                except (OSError, BadAnswer):
                    status = 0
                if status == 200:
                    return True
                time.sleep(_BETWEEN_TRIES_SECONDS)
        return False
