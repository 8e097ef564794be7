"""The identifiers that M-Pesa issues, in the layouts seen on the wire, each unique while the simulator runs."""

import string
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from daraja.simulator.kenya_time import in_kenya

_BASE36 = string.digits + string.ascii_uppercase
_DAYS = "123456789ABCDEFGHIJKLMNOPQRSTUV"
_TOKEN_LETTERS = string.ascii_letters + string.digits
_CONVERSATION_LETTERS = string.ascii_lowercase + string.digits
_RECEIPT_SPACE = 36**7
_RECEIPT_STRIDE = 25_214_903_917
"""Shares no factor with 36, so stepping by it visits every receipt once before any comes again."""
_FIRST_RECEIPT_YEAR = 2006
_TENTH = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class Conversation:
    """The two ids of a request whose result comes later: M-Pesa's own, and the originator's."""

    id: str
    originator_id: str


class Identifiers:
    """A source of identifiers; not thread-safe, its owner holds a lock.

    The starting moment is mixed into the seed: two runs with one seed on one day must not share receipts,
    because a ledger that outlives the simulator would take the second payment for a repeat of the first.
    """

    def __init__(self, seed: int, started_at: datetime) -> None:
        # Guards nothing: the money is not real.
        self._random = Random(f"{seed} {started_at.isoformat()}")  # noqa: S311
        self._receipt_number = self._random.randrange(_RECEIPT_SPACE)
        self._tail = self._random.randrange(100_000, 900_000)

    def token(self) -> str:
        """Return an OAuth access token: 28 letters and digits."""
        return "".join(self._random.choices(_TOKEN_LETTERS, k=28))

    def merchant_request_id(self) -> str:
        """Return three groups of four hex digits, then twelve hex digits that run into a decimal tail."""
        digits = f"{self._random.getrandbits(96):024x}"
        self._tail += 1
        return f"{digits[:4]}-{digits[4:8]}-{digits[8:12]}-{digits[12:]}{self._tail}"

    def conversation(self, moment: datetime) -> Conversation:
        """Return the ids of a new conversation; M-Pesa's is `AG_`, the day in EAT and twenty letters and digits."""
        letters = "".join(self._random.choices(_CONVERSATION_LETTERS, k=10))
        self._tail += 1
        own = f"AG_{in_kenya(moment):%Y%m%d}_{self._tail:010}{letters}"
        return Conversation(own, self.merchant_request_id())

    def checkout_request_id(self, phone: str, moment: datetime, taken: Container[str]) -> str:
        """Return `ws_CO_`, the EAT date and time, one digit of fraction and the phone without 254.

        The layout leaves a tenth of a second for each phone; if that is taken the next tenth is used.
        """
        while (candidate := _checkout_request_id(phone, moment)) in taken:
            moment += _TENTH
        return candidate

    def receipt(self, moment: datetime) -> str:
        """Return ten characters: year, month and day in EAT as M-Pesa codes them, then seven that never repeat."""
        day = in_kenya(moment)
        self._receipt_number = (self._receipt_number + _RECEIPT_STRIDE) % _RECEIPT_SPACE
        return receipt_date_code(day) + _in_base36(self._receipt_number, 7)


def receipt_date_code(day: datetime) -> str:
    """Return the three characters that open a receipt: `A` is 2006 and January, `1` to `9` then `A` to `V` the day."""
    year = chr(ord("A") + (day.year - _FIRST_RECEIPT_YEAR) % 26)
    return year + chr(ord("A") + day.month - 1) + _DAYS[day.day - 1]


def _checkout_request_id(phone: str, moment: datetime) -> str:
    local = in_kenya(moment)
    return f"ws_CO_{local:%d%m%Y%H%M%S}{local.microsecond // 100_000}{phone[3:]}"


def _in_base36(number: int, width: int) -> str:
    letters = []
    for _ in range(width):
        number, remainder = divmod(number, 36)
        letters.append(_BASE36[remainder])
    return "".join(reversed(letters))
