"""What is told of sessions: made of the log when it is told, from events that all carry our MAC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from ledger.application import Ledger
from ledger.errors import LedgerError, NotFound, Unavailable
from ledger.store.vault import Vault
from payments.webhooks.deliveries import Delivery
from payments.webhooks.endpoints import Definition
from payments.webhooks.messages import body_of, hears, maker_of, message_id, message_of
from projections.follower import Recorded

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SessionMessage:
    """A message by its id, which is the same at each attempt, and its body."""

    message_id: str
    body: bytes


Made = SessionMessage | LedgerError | None
"""A message, or why it is not told; None is where a fault of ours is in the way."""


class SessionMessages:
    """Makes the messages of events. Safe to share between threads."""

    def __init__(self, ledger: Ledger, vault: Vault) -> None:
        self._ledger = ledger
        self._vault = vault

    def of(self, definition: Definition, deliveries: Sequence[Delivery]) -> list[Made]:
        """Return the message of each delivery, or why it is not told: EventForged, NotFound.

        A fault of ours is logged. A row of a delivery only points, and anybody with
        a login of the database can write one: the log says whether the endpoint may hear of the session.
        Raises Unavailable.
        """
        histories = self._ledger.recorder.histories({delivery.session_id for delivery in deliveries})
        return [
            self._one(definition, delivery, histories.get(delivery.session_id, ())) for delivery in deliveries
        ]

    def told(
        self, key_name: str | None, recorded: Recorded, rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """Return the message of an event, by the rows of its session; None where the key does not hear of it.

        Raises EventForged and MapperDeserialisationError if an event up to it is not ours.
        """
        if not hears(key_name, maker_of(msgspec.json.decode(rows[0]["metadata"] or "{}"))):
            return None
        until = [row for row in rows if row["version"] <= recorded.version]
        session = self._ledger.session_of_rows(recorded.session_id, until, None)
        return message_of(recorded, session, self._vault)

    def _one(self, definition: Definition, delivery: Delivery, rows: Sequence[Mapping[str, Any]]) -> Made:
        try:
            return self._made(definition, delivery, rows)
        except Unavailable:
            raise
        except LedgerError as refusal:
            return refusal
        except Exception:  # noqa: BLE001 - our fault, of this message alone; it is logged and tried again
            _log.exception("webhook_not_made", delivery_id=delivery.delivery_id)
            return None

    def _made(
        self, definition: Definition, delivery: Delivery, rows: Sequence[Mapping[str, Any]]
    ) -> SessionMessage:
        row = next((row for row in rows if row["version"] == delivery.version), None)
        message = row and self.told(definition.key_name, _recorded(delivery, row), rows)
        if not message:
            raise NotFound("The endpoint does not hear of this event.")
        return SessionMessage(message_id(delivery.session_id, delivery.version), body_of(message))


def _recorded(delivery: Delivery, row: Mapping[str, Any]) -> Recorded:
    state = msgspec.json.decode(row["state"])
    return Recorded(
        delivery.session_id, row["version"], row["topic"], state, row["position"], delivery.queued_at
    )
