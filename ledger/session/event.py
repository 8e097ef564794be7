"""What every fact about a payment session is."""

from typing import ClassVar

from eventsourcing.domain import Aggregate


class Event(Aggregate.Event):
    """A fact about one session; each kind has a TOPIC of its own.

    `apply` only sets fields: it runs again at every load, so there is no rule, no clock and no choice of business in
    it. Amounts are cents, moments are aware UTC, personal data are sealed.
    """

    TOPIC: ClassVar[str]
