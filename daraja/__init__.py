"""A client of Safaricom's Daraja, the API of M-Pesa. It knows nothing of ledgers and shops; anyone could use it."""

from daraja.api_results import ApiResult, ApiTimeout, parse_result, parse_timeout
from daraja.c2b_api import C2bNotice, C2bRegistration, forbidden_words_in, parse_c2b
from daraja.callback_parser import StkCallback, parse_callback
from daraja.client import DarajaClient
from daraja.codes import RESULT_MEANINGS, ResultMeaning, meaning_of
from daraja.config import BUY_GOODS, PAYBILL, DarajaConfig
from daraja.credential import certificate_end, security_credential
from daraja.daraja_errors import (
    DarajaError,
    InvalidConfig,
    MalformedBody,
    MalformedCallback,
    MalformedNotice,
    MalformedResult,
    Refused,
    Retryable,
    SubmissionError,
    Uncertain,
)
from daraja.gateway import AccessToken, TokenStore
from daraja.initiator import Acknowledged
from daraja.memory_token_store import MemoryTokenStore
from daraja.pull_api import PulledPage, PulledTransaction, PulledWindow
from daraja.replies import Accepted, QueryVerdict
from daraja.verdicts import (
    REVERSAL_FAILURES,
    ReversalVerdict,
    StatusVerdict,
    reversal_verdict,
    status_verdict,
)

__all__ = [
    "BUY_GOODS",
    "PAYBILL",
    "RESULT_MEANINGS",
    "REVERSAL_FAILURES",
    "Accepted",
    "AccessToken",
    "Acknowledged",
    "ApiResult",
    "ApiTimeout",
    "C2bNotice",
    "C2bRegistration",
    "DarajaClient",
    "DarajaConfig",
    "DarajaError",
    "InvalidConfig",
    "MalformedBody",
    "MalformedCallback",
    "MalformedNotice",
    "MalformedResult",
    "MemoryTokenStore",
    "PulledPage",
    "PulledTransaction",
    "PulledWindow",
    "QueryVerdict",
    "Refused",
    "ResultMeaning",
    "Retryable",
    "ReversalVerdict",
    "StatusVerdict",
    "StkCallback",
    "SubmissionError",
    "TokenStore",
    "Uncertain",
    "certificate_end",
    "forbidden_words_in",
    "meaning_of",
    "parse_c2b",
    "parse_callback",
    "parse_result",
    "parse_timeout",
    "reversal_verdict",
    "security_credential",
    "status_verdict",
]
