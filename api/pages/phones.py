"""The simulator's phones, which a page shows beside the payment if M-Pesa is simulated on this machine."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from ledger.phone import PhoneNumber


def simulator_url(daraja_url: str) -> str | None:
    """Return the simulator's address, or None where payments go to M-Pesa: only a loopback address can be it."""
    address = urlsplit(daraja_url)
    if not _is_loopback(address.hostname or ""):
        return None
    return f"{address.scheme}://{address.netloc}"


def phone_url(daraja_url: str, phone: PhoneNumber) -> str | None:
    """Return the URL of a simulated phone, None if there is no simulator."""
    base = simulator_url(daraja_url)
    return f"{base}/phones/{phone.digits}" if base else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
