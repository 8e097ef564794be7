"""What every event of a payment session is."""

from typing import ClassVar

from eventsourcing.domain import Aggregate


class Event(Aggregate.Event):
    """Something that happened to one session; each class has a versioned TOPIC, which is stored and never changes.

    `apply` only sets fields: it runs again at every load, so it holds no rule and asks no clock. Amounts are cents,
    moments are aware UTC, personal data are encrypted.
    """

    TOPIC: ClassVar[str]
