"""Callback tokens: what they name, and that only the holder of the key can make one."""

import hashlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.inbox.callback_tokens import (
    RefundMessageKind,
    RefundTarget,
    make_refund_token,
    make_token,
    read_refund_token,
    read_token,
)

SESSION = UUID("550e8400-e29b-41d4-a716-446655440000")
OTHER = UUID("550e8400-e29b-41d4-a716-446655440001")


def sign(message: bytes) -> bytes:
    return hashlib.sha256(b"secret" + message).digest()[:16]


def is_signed(message: bytes, signature: bytes) -> bool:
    return signature == sign(message)


def test_a_token_names_its_session_and_attempt() -> None:
    token = make_token(sign, SESSION, 3)
    assert read_token(is_signed, token) == (SESSION, 3)
    assert token.startswith("550e8400e29b41d4a7164466554400000003")
    assert len(token) == 68


@given(st.uuids(), st.integers(0, 65_535))
def test_each_attempt_of_each_session_has_its_own_token(session_id: UUID, attempt: int) -> None:
    assert read_token(is_signed, make_token(sign, session_id, attempt)) == (session_id, attempt)


@pytest.mark.parametrize("place", range(0, 68, 3))
def test_a_token_with_one_changed_digit_is_refused(place: int) -> None:
    token = make_token(sign, SESSION, 1)
    changed = token[:place] + ("0" if token[place] != "0" else "1") + token[place + 1 :]
    assert read_token(is_signed, changed) is None


def test_the_signature_of_one_attempt_is_no_signature_of_another() -> None:
    signature = make_token(sign, SESSION, 1)[36:]
    for session_id, attempt in ((SESSION, 2), (OTHER, 1)):
        assert read_token(is_signed, make_token(sign, session_id, attempt)[:36] + signature) is None


def test_a_token_made_with_another_key_is_refused() -> None:
    assert read_token(is_signed, make_token(lambda _: bytes(16), SESSION, 1)) is None


@pytest.mark.parametrize("text", ["", "0", "z" * 68, "é" * 68, " " * 68, "0" * 67, "0" * 69, "0" * 136])
def test_other_text_is_refused(text: str) -> None:
    assert read_token(is_signed, text) is None


def test_a_token_with_blanks_in_it_is_refused() -> None:
    token = make_token(sign, SESSION, 1)
    assert read_token(is_signed, f"{token[:33]} {token[33:]}") is None
    assert read_token(is_signed, f"{token[:66]}  ") is None


@pytest.mark.parametrize("kind", list(RefundMessageKind))
def test_a_refund_token_names_its_kind_session_refund_and_attempt(
    kind: RefundMessageKind,
) -> None:
    target = RefundTarget(kind, SESSION, refund=2, attempt=3)
    token = make_refund_token(sign, target)
    assert read_refund_token(is_signed, token) == target
    assert token.startswith("550e8400e29b41d4a71644665544000000020003")
    assert len(token) == 72


def test_a_token_of_one_kind_is_no_token_of_another() -> None:
    tokens = {
        kind: make_refund_token(sign, RefundTarget(kind, SESSION, refund=1, attempt=1))
        for kind in RefundMessageKind
    }
    assert len(set(tokens.values())) == len(RefundMessageKind)
    for token in tokens.values():
        assert read_token(is_signed, token) is None
    assert read_refund_token(is_signed, make_token(sign, SESSION, 1)) is None


@pytest.mark.parametrize("place", range(0, 72, 3))
def test_a_refund_token_with_one_changed_digit_is_refused(place: int) -> None:
    token = make_refund_token(
        sign, RefundTarget(RefundMessageKind.REVERSAL_RESULT, SESSION, refund=1, attempt=1)
    )
    changed = token[:place] + ("0" if token[place] != "0" else "1") + token[place + 1 :]
    assert read_refund_token(is_signed, changed) is None
