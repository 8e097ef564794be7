"""The terms of refunds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RefundTerms:
    """Whether refunds are approved by the policy, and the base URL to which M-Pesa posts results."""

    is_automatic: bool
    endpoints_url: str
