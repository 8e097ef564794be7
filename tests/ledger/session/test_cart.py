"""What a cart comes to."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidValue, Rejected
from ledger.session.cart import SnapshotLine, Totals, add_up, subtotal_cents
from tests.ledger.session.event_specs import LINES

LIMIT = 250_000


def cart(*subtotals: int) -> tuple[SnapshotLine, ...]:
    return tuple(replace(LINES[0], subtotal_cents=cents) for cents in subtotals)


def test_the_contracts_cart_has_the_contracts_total() -> None:
    assert add_up(LINES, 50_00, LIMIT) == Totals(300_00, 50_00, 0, 350_00)


def test_the_lines_add_up() -> None:
    assert add_up(cart(100_00, 20_00, 3_00), 0, LIMIT).goods_cents == 123_00


@pytest.mark.parametrize(
    ("goods", "fee", "rounding", "total"),
    [
        (300_49, 50_00, -49, 350_00),
        (300_50, 50_00, 50, 351_00),
        (300_25, 50_25, 50, 351_00),
        (301_50, 50_00, 50, 352_00),
        (300_99, 50_01, 0, 351_00),
    ],
)
def test_the_total_is_rounded_half_up_to_the_shilling_and_the_rounding_is_recorded(
    goods: int, fee: int, rounding: int, total: int
) -> None:
    assert add_up(cart(goods), fee, LIMIT) == Totals(goods, fee, rounding, total)


@given(st.lists(st.integers(0, 10_000_00), min_size=1, max_size=20).filter(any), st.integers(0, 1_000_00))
def test_goods_and_fee_and_rounding_are_the_total(subtotals: list[int], fee: int) -> None:
    if sum(subtotals) + fee < 50:
        return
    totals = add_up(cart(*subtotals), fee, LIMIT)
    assert totals.goods_cents + totals.delivery_fee_cents + totals.rounding_cents == totals.total_cents
    assert totals.total_cents % 100 == 0
    assert -50 < totals.rounding_cents <= 50


def test_an_empty_cart_is_refused() -> None:
    with pytest.raises(Rejected) as refusal:
        add_up((), 50_00, LIMIT)
    assert refusal.value.code == "CART_EMPTY"


@pytest.mark.parametrize(
    ("goods", "most", "total"),
    [(50, LIMIT, 1_00), (250_000_00, LIMIT, 250_000_00), (250_000_49, LIMIT, 250_000_00)],
)
def test_the_least_and_the_most_that_m_pesa_takes_are_taken(goods: int, most: int, total: int) -> None:
    assert add_up(cart(goods), 0, most).total_cents == total


@pytest.mark.parametrize("delivery", [0, 50_00])
def test_goods_that_cost_nothing_cannot_be_ordered_whatever_their_delivery_costs(delivery: int) -> None:
    with pytest.raises(InvalidValue, match=r"come to 0\.00 shillings") as refusal:
        add_up(cart(0), delivery, LIMIT)
    assert refusal.value.code == "AMOUNT_OUT_OF_RANGE"


@pytest.mark.parametrize(("goods", "most"), [(49, LIMIT), (250_000_50, LIMIT), (151_00, 150)])
def test_a_total_that_m_pesa_could_not_take_at_once_is_refused(goods: int, most: int) -> None:
    with pytest.raises(InvalidValue) as refusal:
        add_up(cart(goods), 0, most)
    assert refusal.value.code == "AMOUNT_OUT_OF_RANGE"
    assert f"{most:,}" in refusal.value.message


def test_the_delivery_fee_counts_towards_the_limit() -> None:
    with pytest.raises(InvalidValue):
        add_up(cart(250_000_00), 1_00, LIMIT)


def test_a_subtotal_is_price_times_quantity_rounded_half_up_to_the_cent() -> None:
    assert subtotal_cents(150_00, 2_000) == 300_00
    assert subtotal_cents(99_99, 250) == 25_00
