"""More time for the buyer."""

import pytest

from ledger.session.values import Status
from tests.ledger.session.commands import expire, extend
from tests.ledger.session.event_specs import (
    Spec,
    clock,
    created,
    expired,
    extended,
    failed,
    initiated,
    order_created,
    paid,
    requested,
)
from tests.ledger.session.scenario import given


def test_an_extension_is_counted_from_the_present_expiry_as_in_the_contract() -> None:
    given(created(at="10:30", expires="10:45")).when(extend(minutes=15, at="10:44")).then(
        extended("11:00", at="10:44")
    )


def test_the_same_request_again_extends_nothing_not_even_when_all_is_over() -> None:
    once = given(created()).when(extend(request="a", at="10:31"))
    once.then(extended("11:00", request="a"))
    for again in (
        extend(request="a", at="10:32"),
        extend(request="a", at="12:00"),
        extend(request="a", most=1),
    ):
        once.when(again).then_no_change()
    once.when(extend(request="b", at="10:32")).then(extended("11:15", request="b"))
    once.when(extend(at="10:32")).when(extend(at="10:33")).then(extended("11:30"))


def test_extensions_add_up() -> None:
    chain = given(created()).when(extend(at="10:31")).when(extend(at="10:32")).when(extend(at="10:59"))
    chain.then(extended("11:30"))
    assert chain.session.extensions == 3
    assert chain.session.expires_at == clock("11:30")


def test_extensions_are_capped() -> None:
    given(created(), extended("11:00"), extended("11:15")).when(extend(most=2)).refused(
        "EXTENSION_LIMIT_REACHED"
    )


def test_the_cap_may_forbid_extensions_altogether() -> None:
    given(created()).when(extend(most=0)).refused("EXTENSION_LIMIT_REACHED")


def test_a_session_whose_prompt_is_on_the_phone_can_be_extended_and_keeps_its_status() -> None:
    given(created(), requested(), initiated()).when(extend()).then(extended("11:00")).status(
        Status.PAYMENT_INITIATED
    )


def test_the_last_moment_before_the_expiry_is_early_enough() -> None:
    given(created()).when(extend(at="10:44:59.999999")).then(extended("11:00"))


@pytest.mark.parametrize("at", ["10:45", "10:45:00.000001", "12:00"])
def test_a_session_that_ran_out_cannot_be_extended_though_its_expiry_is_not_recorded_yet(at: str) -> None:
    given(created()).when(extend(at=at)).refused("SESSION_EXPIRED")


@pytest.mark.parametrize(
    ("history", "code"),
    [
        ([expired()], "SESSION_EXPIRED"),
        ([requested(), initiated(), failed()], "SESSION_FAILED"),
        ([requested(), initiated(), paid()], "SESSION_ALREADY_PAID"),
        ([requested(), initiated(), paid(), order_created()], "SESSION_ALREADY_PAID"),
    ],
)
def test_a_settled_session_cannot_be_extended(history: list[Spec], code: str) -> None:
    given(created(), *history).when(extend(at="10:40")).refused(code)


def test_a_settled_session_refuses_with_how_it_was_settled_and_not_with_its_expiry() -> None:
    given(created(), requested(), initiated(), paid()).when(extend(at="12:00")).refused(
        "SESSION_ALREADY_PAID"
    )


def test_an_extended_session_does_not_expire_at_its_first_expiry() -> None:
    given(created(), extended("11:00")).when(expire(at="10:45")).then_no_change()
