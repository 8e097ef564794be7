"""Phone numbers as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidValue
from ledger.phone import PhoneNumber

NATIONAL = st.from_regex(r"[17][0-9]{8}", fullmatch=True)
PREFIX = st.sampled_from(["", "0", "254", "+254", "00254", "000254", "+2540"])
SEPARATOR = st.sampled_from(["", "", " ", "-", ".", "\u00a0", "(", ")"])


@pytest.mark.parametrize(
    "text",
    [
        "0712345678",
        "+254712345678",
        "254712345678",
        "712345678",
        "0712 345 678",
        "00254712345678",
        "000254712345678",
        "+2540712345678",
        "0712-345-678",
        "0712.345.678",
        "(0712) 345678",
        " 0712345678 ",
        "0712\u00a0345\u00a0678",
        "+254 712 345 678",
    ],
)
def test_one_number_is_the_same_however_it_is_typed(text: str) -> None:
    assert str(PhoneNumber.parse(text)) == "254712345678"


@pytest.mark.parametrize("text", ["0112345678", "112345678", "254112345678", "+254 112 345 678"])
def test_the_newer_numbers_that_begin_with_one_are_taken_too(text: str) -> None:
    assert str(PhoneNumber.parse(text)) == "254112345678"


@pytest.mark.parametrize("prefix", ["0100", "0118", "0143", "0182", "0733", "0747", "0764", "0777", "0799"])
def test_no_operator_is_refused_because_numbers_move_between_them(prefix: str) -> None:
    assert str(PhoneNumber.parse(prefix + "123456")) == "254" + prefix[1:] + "123456"


@pytest.mark.parametrize(
    "thing",
    [
        "",
        " ",
        "0",
        "254",
        "+254",
        "07abc",
        "07123x5678",
        "0812345678",
        "0202345678",
        "71234567",
        "07123456789",
        "2547123456789012",
        "0712345678901234",
        "+255712345678",
        "+447700900123",
        "+1 202 555 0143",
        "2547*****678",
        "2547 ***** 126",
        "a" * 64,
        "0" * 40,
        "0712345678;0712345679",
        "0712\x00345678",
        "\uff10\uff17\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18",
        "\u0660\u0667\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668",
        "++254712345678",
        "254254712345678",
        "00712345678",
        "0712345678 " * 4,
    ],
)
def test_text_that_m_pesa_could_not_prompt_is_refused(thing: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        PhoneNumber.parse(thing)
    assert refusal.value.code == "INVALID_INPUT"


@pytest.mark.parametrize(
    "thing", [712345678, 254712345678, 0.5, True, None, [], ["0712345678"], {}, b"0712345678"]
)
def test_what_is_not_text_is_refused(thing: object) -> None:
    with pytest.raises(InvalidValue):
        PhoneNumber.parse(thing)


@given(st.text(max_size=60))
def test_any_text_is_a_number_in_m_pesas_form_or_is_refused(text: str) -> None:
    try:
        phone = PhoneNumber.parse(text)
    except InvalidValue:
        return
    assert str(phone).isascii()
    assert len(str(phone)) == 12


@given(PREFIX, NATIONAL, st.lists(SEPARATOR, min_size=9, max_size=9))
def test_separators_and_prefixes_never_change_the_number(
    prefix: str, national: str, separators: list[str]
) -> None:
    typed = prefix + "".join(a + b for a, b in zip(separators, national, strict=True))
    assert str(PhoneNumber.parse(typed)) == "254" + national


@given(PREFIX, NATIONAL)
def test_a_number_that_was_read_is_read_again_as_itself(prefix: str, national: str) -> None:
    phone = PhoneNumber.parse(prefix + national)
    assert PhoneNumber.parse(str(phone)) == phone


@pytest.mark.parametrize(
    "digits", ["0712345678", "+254712345678", "254812345678", "2547123456789", "254712345678\n"]
)
def test_a_phone_number_cannot_be_made_in_any_other_form(digits: str) -> None:
    with pytest.raises(ValueError, match="254, then 7 or 1"):
        PhoneNumber(digits)


def test_a_number_is_not_shown_where_it_was_not_asked_for() -> None:
    assert "712345678" not in repr(PhoneNumber("254712345678"))


def test_a_refusal_does_not_repeat_the_number() -> None:
    with pytest.raises(InvalidValue) as refusal:
        PhoneNumber.parse("0798765432 or so")
    assert "798765432" not in str(refusal.value)
