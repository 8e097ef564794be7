"""A person who decides about payments."""

from dataclasses import dataclass

from ledger.errors import NotAllowed

AUTO_POLICY = "policy:auto"
"""What the events call the policy that approves refunds in a person's stead."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A person who decides, by the number of their user: signed in, or named on the command line."""

    user_id: int
    at_command_line: bool = False

    @property
    def name(self) -> str:
        """How events and rows name them: by number, because a name would stay there for ever."""
        return f"operator {self.user_id}"

    @property
    def actor(self) -> str:
        """How the audit log names them."""
        return f"cli:user:{self.user_id}" if self.at_command_line else f"user:{self.user_id}"


def own_payment() -> NotAllowed:
    """Return the refusal of a decision about what is the operator's own."""
    return NotAllowed(
        "OWN_PAYMENT",
        "This is your own session, refund or payment. No one decides about their own: ask another operator.",
    )
