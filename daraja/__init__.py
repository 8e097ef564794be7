"""A client of Safaricom's Daraja, the API of M-Pesa. It knows nothing of ledgers and shops; anyone could use it."""

from daraja.callback_urls import FORBIDDEN_WORDS, forbidden_words_in
from daraja.client import DarajaClient
from daraja.codes import RESULT_MEANINGS, ResultMeaning, meaning_of
from daraja.config import BUY_GOODS, PAYBILL, PRODUCTION_URL, SANDBOX_URL, DarajaConfig
from daraja.errors import (
    DarajaError,
    InvalidConfig,
    MalformedCallback,
    Refused,
    Retryable,
    SubmissionError,
    Uncertain,
)
from daraja.messages import StkCallback, parse_callback
from daraja.replies import Accepted, QueryVerdict
from daraja.tokens import AccessToken, MemoryTokenStore, TokenStore

__all__ = [
    "BUY_GOODS",
    "FORBIDDEN_WORDS",
    "PAYBILL",
    "PRODUCTION_URL",
    "RESULT_MEANINGS",
    "SANDBOX_URL",
    "Accepted",
    "AccessToken",
    "DarajaClient",
    "DarajaConfig",
    "DarajaError",
    "InvalidConfig",
    "MalformedCallback",
    "MemoryTokenStore",
    "QueryVerdict",
    "Refused",
    "ResultMeaning",
    "Retryable",
    "StkCallback",
    "SubmissionError",
    "TokenStore",
    "Uncertain",
    "forbidden_words_in",
    "meaning_of",
    "parse_callback",
]
