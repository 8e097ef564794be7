"""The IP addresses that M-Pesa sends callbacks from: one signal among several, because such lists go stale."""

import structlog
from flask import request

from api.http.framework.services import current_settings

ADDRESSES = frozenset(
    {
        "196.201.212.69",
        "196.201.212.74",
        "196.201.212.127",
        "196.201.212.129",
        "196.201.212.136",
        "196.201.212.138",
        "196.201.213.44",
        "196.201.213.114",
        "196.201.214.200",
        "196.201.214.206",
        "196.201.214.207",
        "196.201.214.208",
    }
)
"""As Safaricom publishes them for callbacks."""

_MAPPED = "::ffff:"
"""The prefix of an IPv4 address on a socket of both families."""

_log = structlog.get_logger(__name__)


def is_sender_accepted() -> bool:
    """Tell whether a callback token from the sender of this request is accepted, under DAFTARI_SAFARICOM_ADDRESSES.

    A sender that is not on the list is logged, unless the setting is "off"; it is refused under "enforce".
    """
    policy, sender = current_settings().daftari_safaricom_addresses, request.remote_addr
    if policy == "off" or (sender or "").removeprefix(_MAPPED) in ADDRESSES:
        return True
    _log.warning("callback_from_unknown_address", sender=sender, accepted=policy != "enforce")
    return policy != "enforce"
