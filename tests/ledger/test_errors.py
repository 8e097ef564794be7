"""What each refusal carries: a code for programs, a sentence for people, and when to ask again."""

from ledger.errors import Conflict, InvalidValue, LedgerError, NotFound, Rejected, Unavailable


def test_a_refusal_reads_as_its_code_and_its_sentence() -> None:
    refusal = Rejected("SESSION_EXPIRED", "Session has expired")
    assert (refusal.code, refusal.message) == ("SESSION_EXPIRED", "Session has expired")
    assert str(refusal) == "SESSION_EXPIRED: Session has expired"
    assert refusal.args == ("SESSION_EXPIRED", "Session has expired")
    assert isinstance(refusal, LedgerError)


def test_wrong_input_names_its_fields() -> None:
    refusal = InvalidValue("Some fields are wrong.", {"phone": ("Too short.",)})
    assert (refusal.code, refusal.message) == ("INVALID_INPUT", "Some fields are wrong.")
    assert refusal.errors == {"phone": ["Too short."]}
    assert InvalidValue("Wrong.").errors == {}
    assert InvalidValue("Wrong.", code="CART_EMPTY").code == "CART_EMPTY"


def test_what_is_not_there_is_not_found() -> None:
    assert str(NotFound()) == "NOT_FOUND: There is no such thing here."
    assert str(NotFound("No order.", code="ORDER_NOT_FOUND")) == "ORDER_NOT_FOUND: No order."


def test_who_was_second_may_try_again() -> None:
    assert str(Conflict()) == "CONFLICT: Somebody else changed this at the same moment. Please try again."
    assert Conflict().retry_after_seconds is None
    busy = Conflict("Busy.", code="PHONE_BUSY", retry_after_seconds=60)
    assert (str(busy), busy.retry_after_seconds) == ("PHONE_BUSY: Busy.", 60)


def test_what_does_not_answer_is_asked_again_soon() -> None:
    assert str(Unavailable()) == (
        "UNAVAILABLE: The service cannot reach its database. Please try again shortly."
    )
    assert Unavailable().retry_after_seconds == 2
    late = Unavailable("Later.", code="PAYMENTS_BUSY", retry_after_seconds=5)
    assert (str(late), late.retry_after_seconds) == ("PAYMENTS_BUSY: Later.", 5)
