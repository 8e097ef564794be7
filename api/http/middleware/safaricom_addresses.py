"""The IP addresses that M-Pesa sends callbacks from: one signal among several, because such lists go stale."""

import structlog

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


def is_believed(policy: str, sender: str | None) -> bool:
    """Tell whether a callback token from this sender is accepted, under the policy "off", "warn" or "enforce".

    A sender that is not on the list is logged, unless the policy is "off".
    """
    if policy == "off" or (sender or "").removeprefix(_MAPPED) in ADDRESSES:
        return True
    _log.warning("callback_from_elsewhere", sender=sender, believed=policy != "enforce")
    return policy != "enforce"
