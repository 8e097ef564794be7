"""What the commands of operators share: who decides, and what becomes of a decision that needs a second person."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from payments.operators.operator import Operator
    from payments.operators.proposals import Proposal

by_option = click.option(
    "--by",
    "--as",
    "user",
    required=True,
    type=click.IntRange(1),
    metavar="USER",
    help="The operator who decides, by number.",
)

decider_option = click.option(
    "--by", type=click.IntRange(1, 2**63 - 1), metavar="USER", help="The number of who decides it."
)
"""For what the owner of the command line may do without a name too."""


def actor_of(user: int | None) -> str:
    """Return who decides on the command line, as the audit log names them."""
    return "cli" if user is None else f"cli:user:{user}"


def operator(user: int) -> "Operator":
    """Return who decides on the command line; the events that follow name them as their actor."""
    from ledger.store import metadata
    from payments.operators.operator import Operator

    decider = Operator(user, at_command_line=True)
    metadata.add(actor=decider.actor)
    return decider


def say_proposed(proposal: "Proposal | None") -> None:
    """Tell on stderr, if there is a proposal, how another operator approves it."""
    if proposal is not None:
        click.echo(
            "Proposed: this amount needs a second person. Another operator types "
            f"`daftari work-list approve decision_proposed {proposal.proposal_id} --by USER`.",
            err=True,
        )
