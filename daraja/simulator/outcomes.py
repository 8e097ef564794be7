"""Result codes with their texts, and the phone numbers whose outcome is fixed, for scripts.

Two blocks of numbers are set apart. `25470000CCCC` ends with the result code CCCC, so 254700001032 cancels.
`25470001KKNN` behaves as the kind KK, with a hundred numbers NN of each so that tests need not share one.
"""

from dataclasses import dataclass

PAID = "0"
INSUFFICIENT_FUNDS = "1"
UNDER_MINIMUM = "2"
OVER_TRANSACTION_LIMIT = "3"
OVER_DAILY_LIMIT = "4"
OVER_MAXIMUM_BALANCE = "8"
RULE_LIMITED = "17"
CANCELLED = "1032"
NO_RESPONSE = "1037"
WRONG_PIN = "2001"
PRODUCT_MISMATCH = "2028"
RECEIVER_UNKNOWN = "SFC_IC0003"
STILL_PROCESSING = "4999"

RESULT_TEXTS = {
    "0": "The service request is processed successfully.",
    "1": "The balance is insufficient for the transaction.",
    "2": "Declined due to limit rule",
    "3": "Declined due to limit rule: greater than the maximum transaction amount.",
    "4": "Declined due to limit rule: would exceed daily transfer limit.",
    "8": "Declined due to limit rule: would exceed the maximum balance.",
    "11": "The DebitParty is in an invalid state.",
    "17": "Rule limited",
    "21": "The initiator is not allowed to initiate this request",
    "26": "System busy",
    "1001": "Unable to lock subscriber, a transaction is already in process for the current subscriber",
    "1019": "Transaction has expired",
    "1025": "An error occurred while sending a push request",
    "1031": "Request cancelled by user",
    "1032": "Request cancelled by user",
    "1036": "SMSC ACK timeout",
    "1037": "No response from user.",
    "2001": "The initiator information is invalid.",
    "2006": "Declined due to account rule: The account status does not allow this transaction.",
    "2028": "The request is not permitted according to product assignment.",
    "2040": "Credit Party customer type (Unregistered or Registered Customer) can't be supported by the service.",
    "4999": "The transaction is still under processing",
    "8006": "The security credential is locked.",
    "9999": "An error occurred while sending a push request",
    "SFC_IC0003": "The operator does not exist.",
}

_QUERY_TEXTS = {"1032": "Request Cancelled by user.", "1037": "DS timeout user cannot be reached."}
"""The query's texts that differ from the callback's, as recorded on the wire."""


def callback_text(code: str) -> str:
    """Return the ResultDesc that a callback gives with a code."""
    return RESULT_TEXTS.get(code, f"Unexpected result {code}")


def query_text(code: str) -> str:
    """Return the ResultDesc that the query gives with a code."""
    return _QUERY_TEXTS.get(code) or callback_text(code)


@dataclass(frozen=True, slots=True)
class CallbackDelivery:
    """One callback to post: which body, and how long after the outcome; None is the configured delay of late ones.

    `to_wrong_address` changes the last segment of the callback's address, as a forger who does not know it would.
    """

    variant: str = "truthful"
    delay_seconds: float | None = 0
    to_wrong_address: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """What happens to a push. Without a `code` a person answers the prompt.

    `answer` names the fault that the push itself meets; `query_code` is what a query answers in place of the truth;
    `callback_first` posts the callback before the push is answered. The payer takes `after_seconds`, during which
    `forgeries` are posted. `queries` says from which age of the prompt in seconds on a query meets which fault.
    `fault` is what chaos does to the `deliveries`, for the statistics.
    """

    about: str
    code: str | None = None
    after_seconds: float = 0
    answer: str | None = None
    deliveries: tuple[CallbackDelivery, ...] = (CallbackDelivery(),)
    forgeries: tuple[CallbackDelivery, ...] = ()
    query_code: str | None = None
    queries: tuple[tuple[float, str], ...] = ()
    callback_first: bool = False
    fault: str | None = None


ANSWERED_BY_HAND = Script("A prompt that waits for a person")

_SOON_SECONDS = 2.0

RECORDED_QUERIES: dict[str, tuple[tuple[float, str], ...]] = {
    "paid": ((0, "4999"), (17, PAID)),
    "cancelled": ((0, "empty-message-200"), (27, CANCELLED)),
    "unreachable": (
        (0, "4999"),
        (14, NO_RESPONSE),
        (75, "empty-message"),
        (76, NO_RESPONSE),
        (103, "empty-message"),
        (104, NO_RESPONSE),
        (130, "empty-message"),
        (131, NO_RESPONSE),
        (141, "empty-message"),
        (142, NO_RESPONSE),
    ),
}
"""The answers to queries in three recorded runs, by the age of the push in seconds."""

RECORDED_ANSWERS: dict[str, tuple[str, ...]] = {
    "paid": ("4999", "4999", PAID),
    "cancelled": ("empty-message-200", "empty-message-200", CANCELLED),
    "unreachable": ("4999", "4999", *[NO_RESPONSE, "empty-message"] * 4, NO_RESPONSE),
}
"""The same answers one by one, whatever the age; the last one repeats."""


def _paid(
    about: str, *deliveries: CallbackDelivery, answer: str | None = None, query_code: str | None = None
) -> Script:
    return Script(about, code=PAID, deliveries=deliveries, answer=answer, query_code=query_code)


KINDS: dict[str, Script] = {
    "00": _paid("Paid at once", CallbackDelivery()),
    "01": _paid("Paid, the callback is lost"),
    "02": _paid("Paid, the callback comes twice at the same instant", CallbackDelivery(), CallbackDelivery()),
    "03": _paid("Paid, the callback comes late", CallbackDelivery(delay_seconds=None)),
    "04": Script("Paid, the callback comes before the push is answered", code=PAID, callback_first=True),
    "05": _paid("Paid, the answer to the push is lost", CallbackDelivery(), answer="lose-answer"),
    "06": _paid("Paid, the answer and the callback are lost", answer="lose-answer"),
    "07": _paid('Paid, ResultCode is the text "0"', CallbackDelivery("text-code")),
    "08": _paid("Paid, the callback says 1 shilling", CallbackDelivery("amount-of-one")),
    "09": _paid("Paid, the callback says one shilling more", CallbackDelivery("amount-plus-one")),
    "10": _paid("Paid, the callback's amount is text", CallbackDelivery("amount-as-text")),
    "11": _paid("Paid, the callback has no amount", CallbackDelivery("amount-missing")),
    "12": _paid("Paid, the callback's phone is masked", CallbackDelivery("phone-masked")),
    "13": _paid("Paid, the callback has no phone", CallbackDelivery("phone-missing")),
    "14": _paid("Paid, items reversed with unknown ones between", CallbackDelivery("items-shuffled")),
    "15": _paid(
        "Paid, then a callback 1032 for the same push",
        CallbackDelivery(),
        CallbackDelivery("cancelled", _SOON_SECONDS),
    ),
    "16": _paid(
        "Paid, a callback 1032 comes first",
        CallbackDelivery("cancelled"),
        CallbackDelivery(delay_seconds=_SOON_SECONDS),
    ),
    "17": Script(
        "Cancelled, yet a forged callback says paid", code=CANCELLED, deliveries=(CallbackDelivery("forged"),)
    ),
    "18": Script("ResultCode SFC_IC0003, which is text", code=RECEIVER_UNKNOWN),
    "19": _paid("Paid, the query says 1032", CallbackDelivery(), query_code=CANCELLED),
    "20": _paid("Paid, the callback is an empty object", CallbackDelivery("empty-object")),
    "21": _paid("Paid, the callback is JSON cut short", CallbackDelivery("truncated")),
    "22": _paid("Paid, the callback is 1 MB of junk", CallbackDelivery("junk")),
    "23": _paid("Paid, the callback has no receipt", CallbackDelivery("receipt-missing")),
    "24": Script("Paid after 17 s, queries as recorded", PAID, 17, queries=RECORDED_QUERIES["paid"]),
    "25": Script(
        "Cancelled after 13 s, queries as recorded", CANCELLED, 13, queries=RECORDED_QUERIES["cancelled"]
    ),
    "26": Script(
        "Unreachable after 14 s, queries as recorded",
        NO_RESPONSE,
        14,
        queries=RECORDED_QUERIES["unreachable"],
    ),
    "30": Script("Refused: 500.003.02 system busy", answer="busy"),
    "31": Script("Refused: 429 spike arrest", answer="spike-arrest"),
    "32": Script("Refused: unable to lock subscriber", answer="subscriber-locked"),
    "33": Script("Answered with an HTML page and 503, nothing sent", answer="html-503"),
}
"""Outcomes by the two digits KK of 25470001KKNN; prompts of other numbers are answered by hand."""


def code_of(phone: str) -> str | None:
    """Return the result code that a number 25470000CCCC names, or None."""
    return str(int(phone[8:])) if phone.startswith("25470000") else None


def script_for(phone: str) -> Script:
    """Return the script of a number with a fixed outcome, else ANSWERED_BY_HAND."""
    if (code := code_of(phone)) is not None:
        return code_script(code)
    if phone.startswith("25470001"):
        return KINDS.get(phone[8:10], ANSWERED_BY_HAND)
    return ANSWERED_BY_HAND


def code_script(code: str) -> Script:
    """Return the script that ends at once with a result code."""
    return Script(f"Ends at once with {code}", code=code)
