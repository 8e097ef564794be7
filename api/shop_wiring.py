"""The one place that knows every concrete shop."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from api.settings import Settings
from daraja.wire import AnswerLost, NotSent, exchange, new_session
from ledger.session.values import BUILTIN_SHOP, HTTP_SHOP, NO_SHOP
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.checkout.circuit_breaker import CircuitBreaker
from payments.users.user_ids import UserIds
from payments.webhooks.signing import new_secret, signed_headers
from shop.builtin import BuiltinShop
from shop.delivery import DeliveryRates
from shop.http import HttpShop
from shop.http.calls import NoAnswer, Post, Send, ShopCalls
from shop.http.contract_check import ContractCheck
from shop.port import Shop
from shop.shops import Shops
from shop.without import NoShop

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
"""From the request on, for the whole answer: a buyer waits for a quote, and a worker for others' orders."""

MAX_ANSWER_BYTES = 256 * 1024
MAX_CONNECTIONS = 16


def build_shops(settings: Settings, database: Database, vault: Vault, builtin: BuiltinShop) -> Shops:
    """Return the shops of the settings. The built-in one and none are always there, for sessions that they have."""
    shops: dict[str, Shop] = {BUILTIN_SHOP: builtin, NO_SHOP: NoShop()}
    if settings.daftari_shop_url:
        user_ids = UserIds(database, vault)
        shops[HTTP_SHOP] = HttpShop(shop_calls(settings), builtin.unknown_place, user_ids.text_of)
    return Shops(
        shops,
        for_carts=settings.daftari_shop,
        for_checkouts=HTTP_SHOP if settings.daftari_shop == HTTP_SHOP else NO_SHOP,
    )


def shop_calls(settings: Settings) -> ShopCalls:
    """Return what calls the shop behind HTTP of the settings."""
    return ShopCalls(poster(settings.daftari_shop_url, settings.daftari_shop_secret), CircuitBreaker())


def build_builtin_shop(settings: Settings, database: Database, vault: Vault) -> BuiltinShop:
    """Return the built-in shop, with the delivery fees of the settings."""
    rates = DeliveryRates(
        free_from_cents=settings.daftari_free_delivery_from.cents,
        base_cents=settings.daftari_delivery_fee.cents,
        heavy_surcharge_cents=settings.daftari_delivery_surcharge_10kg.cents,
        very_heavy_surcharge_cents=settings.daftari_delivery_surcharge_20kg.cents,
    )
    return BuiltinShop(database, vault, rates)


def poster(url: str, secrets: tuple[str, ...]) -> Post:
    """Return what signs messages and posts them to a shop, on kept connections, without following redirects."""
    send = sender(url)
    return lambda message_id, at, body: send(signed_headers(message_id, at, body, secrets), body)


def sender(url: str) -> Send:
    """Return what posts bodies with their headers to a shop."""
    session = new_session(MAX_CONNECTIONS)

    def send(headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        try:
            reply = exchange(
                session,
                "POST",
                url,
                headers={"Content-Type": "application/json", **headers},
                body=body,
                timeouts=(CONNECT_SECONDS, ANSWER_SECONDS),
                max_bytes=MAX_ANSWER_BYTES,
            )
        except (NotSent, AnswerLost) as error:
            raise NoAnswer(str(error)) from None
        return reply.status, reply.body

    return send


def contract_check(url: str, secrets: tuple[str, ...], user: str) -> ContractCheck:
    """Return what checks the shop at an address, of which `user` has something in the cart."""
    strangers = (new_secret(),)
    return ContractCheck(
        sender(url), partial(_signed, secrets=secrets), partial(_signed, secrets=strangers), user
    )


def _signed(message_id: str, at: datetime, body: bytes, *, secrets: tuple[str, ...]) -> dict[str, str]:
    return signed_headers(message_id, at, body, secrets)
