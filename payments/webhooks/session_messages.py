"""What webhook deliveries tell: made of the log when they are sent, from events that all carry our MAC."""

from collections.abc import Sequence
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


class SessionMessages:
    """Makes the messages of deliveries. Safe to share between threads."""

    def __init__(self, ledger: Ledger, vault: Vault) -> None:
        self._ledger = ledger
        self._vault = vault

    def of(
        self, definition: Definition, deliveries: Sequence[Delivery]
    ) -> list[SessionMessage | LedgerError | None]:
        """Return the message of each delivery, or why it is not told: EventForged, NotFound.

        None is where a fault of ours is in the way, which is logged. A row of a delivery only points, and anybody with
        a login of the database can write one: the log says whether the endpoint may hear of the session.
        Raises Unavailable.
        """
        histories = self._ledger.recorder.histories({delivery.session_id for delivery in deliveries})
        return [
            self._one(definition, delivery, histories.get(delivery.session_id, ())) for delivery in deliveries
        ]

    def _one(
        self, definition: Definition, delivery: Delivery, rows: Sequence[dict[str, Any]]
    ) -> SessionMessage | LedgerError | None:
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
        self, definition: Definition, delivery: Delivery, rows: Sequence[dict[str, Any]]
    ) -> SessionMessage:
        until = [row for row in rows if row["version"] <= delivery.version]
        session = self._ledger.session_of_rows(delivery.session_id, until, None)
        maker = maker_of(msgspec.json.decode(until[0]["metadata"] or "{}"))
        message = None
        if session.version == delivery.version and hears(definition.key_name, maker):
            message = message_of(_recorded(delivery, until[-1]), session, self._vault)
        if message is None:
            raise NotFound("The endpoint does not hear of this event.")
        return SessionMessage(message_id(delivery.session_id, delivery.version), body_of(message))


def _recorded(delivery: Delivery, row: dict[str, Any]) -> Recorded:
    state = msgspec.json.decode(row["state"])
    return Recorded(
        delivery.session_id, row["version"], row["topic"], state, row["position"], delivery.queued_at
    )
