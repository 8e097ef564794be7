"""Concurrent orders, each in a thread and a connection of its own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from shop.builtin import BuiltinShop
from shop.port import OrderRefused, OrderRequest, PlacedOrder
from tests.shop.conftest import (
    EGGS,
    POTATOES,
    TOMATOES,
    Outcome,
    for_another_session,
    order_at_once,
    order_request,
    set_stock,
    stock_of,
)


def _orders(outcomes: list[Outcome]) -> list[PlacedOrder]:
    return [outcome for outcome in outcomes if isinstance(outcome, PlacedOrder)]


def _codes(outcomes: list[Outcome]) -> list[str]:
    return [outcome.code for outcome in outcomes if isinstance(outcome, OrderRefused)]


def test_the_last_two_units_go_to_one_of_two_buyers_in_each_of_twenty_rounds(shop: BuiltinShop) -> None:
    for round_number in range(20):
        set_stock(shop, TOMATOES, 2_000)
        users = (10 + 2 * round_number, 11 + 2 * round_number)
        outcomes = order_at_once(shop, [order_request(shop, user_id, tomatoes="2") for user_id in users])
        assert len(_orders(outcomes)) == 1
        assert _codes(outcomes) == ["OUT_OF_STOCK"]
        assert stock_of(shop, TOMATOES) == 0


def test_two_sessions_over_one_cart_make_one_order(shop: BuiltinShop) -> None:
    for user_id in range(1, 5):
        request = order_request(shop, user_id, tomatoes="1", eggs="1")
        outcomes = order_at_once(shop, [request, for_another_session(request)])
        assert len(_orders(outcomes)) == 1
        assert _codes(outcomes) == ["CART_ALREADY_BOUGHT"]
    assert stock_of(shop, TOMATOES) == 6_000


def test_eight_requests_at_once_for_one_session_make_one_order(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="1", eggs="1")
    outcomes = order_at_once(shop, [request] * 8)
    assert len(set(_orders(outcomes))) == 1
    assert _codes(outcomes) == []
    assert stock_of(shop, TOMATOES) == 9_000


def test_of_an_order_and_its_ruling_out_at_once_one_wins(shop: BuiltinShop) -> None:
    set_stock(shop, TOMATOES, 100_000)
    for user_id in range(1, 21):
        request = order_request(shop, user_id, tomatoes="1")
        barrier = threading.Barrier(2)

        def rule_out(
            request: OrderRequest = request, barrier: threading.Barrier = barrier
        ) -> PlacedOrder | None:
            barrier.wait(timeout=10)
            return shop.rule_out_order(request.session_id, request.lines)

        with ThreadPoolExecutor(1) as threads:
            ruling = threads.submit(rule_out)
            barrier.wait(timeout=10)
            [outcome] = order_at_once(shop, [request])
        made = shop.order_by_session(request.session_id)
        assert ruling.result() == made
        assert outcome == made if made else _codes([outcome]) == ["ORDER_NOT_MADE"]


def test_overlapping_orders_at_once_do_not_deadlock(shop: BuiltinShop) -> None:
    for listing_id in (TOMATOES, EGGS, POTATOES):
        set_stock(shop, listing_id, 100_000)
    numbers: set[str] = set()
    for wave in range(4):
        requests = [_request_in_turn(shop, 8 * wave + index) for index in range(8)]
        numbers |= {order.order_number for order in _orders(order_at_once(shop, requests))}
    assert len(numbers) == 32


def _request_in_turn(shop: BuiltinShop, user_id: int) -> OrderRequest:
    """Put the same three listings into the cart, rotated by user, and reversed for every second user."""
    request = order_request(shop, user_id, tomatoes="1", eggs="1", potatoes="0.5")
    turn = user_id % 3
    lines = request.lines[turn:] + request.lines[:turn]
    return replace(request, lines=lines[:: -1 if user_id % 2 else 1])
