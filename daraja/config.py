"""The configuration of a Daraja client, checked at start-up rather than by the first payment."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from daraja.credential import public_key, security_credential
from daraja.daraja_errors import InvalidConfig

PAYBILL = "CustomerPayBillOnline"
BUY_GOODS = "CustomerBuyGoodsOnline"

_SECRET = re.compile(r"[\x21-\x7e]{1,512}")
_NUMBER = re.compile(r"[0-9]{5,7}")
_INITIATOR = re.compile(r"[\x21-\x7e]{1,100}")
_PASSWORD = re.compile(r"[\x20-\x7e]{1,200}")
_CREDENTIAL = re.compile(r"[A-Za-z0-9+/]{100,1400}={0,2}")
_AGENT = re.compile(r"[\x20-\x7e]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DarajaConfig:
    """One shortcode at one Daraja environment. Raises InvalidConfig, which names the setting and not its value.

    `party_b` is the receiver: the shortcode itself for a paybill, the till number for buy goods, where the
    shortcode is the store number used at go-live. `read_timeout_seconds` bounds everything from the request's
    last byte to the answer's last byte, and `query_timeout_seconds` that of a status query, if it is less: such a
    query moves no money. `connect_timeout_seconds` bounds each address that is tried.

    Reversals and transaction status need an initiator: `initiator_name`, and either a
    `security_credential` that was made elsewhere or `initiator_password` with the PEM text of Safaricom's
    `certificate`. A ready-made credential wins.
    """

    base_url: str
    consumer_key: str = field(repr=False)
    consumer_secret: str = field(repr=False)
    shortcode: str
    passkey: str = field(repr=False)
    transaction_type: str = PAYBILL
    party_b: str | None = None
    initiator_name: str | None = None
    initiator_password: str | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    security_credential: str | None = field(default=None, repr=False)
    connect_timeout_seconds: float = 3.0
    read_timeout_seconds: float = 15.0
    query_timeout_seconds: float = 5.0
    user_agent: str = "daftari/0.1"
    pool_size: int = 16
    max_amount_shillings: int = 250_000

    def __post_init__(self) -> None:
        _check_base_url(self.base_url)
        for name in ("consumer_key", "consumer_secret", "passkey"):
            _check(
                name,
                _SECRET.fullmatch(getattr(self, name)),
                "must have no blanks or line ends and not be empty",
            )
        _check("shortcode", _NUMBER.fullmatch(self.shortcode), "must be five to seven digits")
        _check(
            "transaction_type",
            self.transaction_type in (PAYBILL, BUY_GOODS),
            f"must be {PAYBILL} or {BUY_GOODS}",
        )
        if self.party_b is not None:
            _check("party_b", _NUMBER.fullmatch(self.party_b), "must be five to seven digits")
        elif self.transaction_type == BUY_GOODS:
            raise InvalidConfig("party_b", "party_b must be the till number when payments are for buy goods.")
        self._check_initiator()
        for name in ("connect_timeout_seconds", "read_timeout_seconds", "query_timeout_seconds"):
            _check(name, 0 < getattr(self, name) <= 60, "must be above 0 and at most 60")
        _check("user_agent", _AGENT.fullmatch(self.user_agent), "must be one line of plain text")
        _check("pool_size", 1 <= self.pool_size <= 1000, "must be 1 to 1000")
        _check("max_amount_shillings", self.max_amount_shillings >= 1, "must be at least 1")

    @property
    def receiver(self) -> str:
        """Return the number that the money goes to: PartyB."""
        return self.party_b or self.shortcode

    def initiator(self) -> tuple[str, str]:
        """Return the initiator's name and SecurityCredential; raise InvalidConfig if they are not configured."""
        if self.initiator_name is None:
            raise InvalidConfig("initiator_name", _NO_INITIATOR)
        if self.security_credential is not None:
            return self.initiator_name, self.security_credential
        if self.initiator_password is None or self.certificate is None:
            raise InvalidConfig("security_credential", _NO_INITIATOR)
        return self.initiator_name, security_credential(self.initiator_password, self.certificate)

    def _check_initiator(self) -> None:
        for name, form, rule in (
            ("initiator_name", _INITIATOR, "must be the initiator's name, without blanks"),
            ("initiator_password", _PASSWORD, "must be one line of plain text"),
            ("security_credential", _CREDENTIAL, "must be base64, in one piece"),
        ):
            value = getattr(self, name)
            _check(name, value is None or form.fullmatch(value), rule)
        if self.certificate is not None:
            public_key(self.certificate)


_NO_INITIATOR = (
    "M-Pesa takes this from an initiator only: set MPESA_INITIATOR_NAME, and MPESA_SECURITY_CREDENTIAL "
    "or MPESA_INITIATOR_PASSWORD with MPESA_CERTIFICATE_FILE."
)


def _check(name: str, holds: object, rule: str) -> None:
    if not holds:
        raise InvalidConfig(name, f"{name} {rule}.")


def _check_base_url(base_url: str) -> None:
    try:
        parts = urlsplit(base_url)
        plain = (
            parts.scheme in ("http", "https")
            and parts.hostname
            and "@" not in parts.netloc
            and parts.port != 0
        )
    except ValueError:
        plain = False
    if not plain or re.search(r"[\s?#]", base_url) or base_url.endswith("/"):
        raise InvalidConfig(
            "base_url", "base_url must look like https://host or http://host:port, no slash at the end."
        )
