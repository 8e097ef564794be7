"""In-memory doubles of the statements that read and write many sessions at once."""

from collections.abc import Callable
from itertools import chain
from typing import Any
from uuid import UUID

import msgspec

from ledger import application
from ledger.store import recorder
from tests.simulation.ledger_tables import Handler, LedgerTables, Row
from tests.simulation.parts import Effects


class BatchTables:
    """The tables of the ledger, by many sessions at once."""

    def __init__(self, ledger: LedgerTables) -> None:
        self._ledger = ledger

    def handlers(self) -> dict[Any, Handler]:
        """Return the handler of each statement."""
        return {
            recorder._HISTORIES.encode(): self.events_of_sessions,
            recorder._APPEND_TOGETHER: self.append_together,
            application._RESERVE_ALL: self.reserve_all,
        }

    def events_of_sessions(self, values: Any) -> list[Row]:
        """Return the events of several sessions, in the order of their ids."""
        [session_ids] = values
        return list(chain.from_iterable(self._ledger.events.get(each, []) for each in sorted(session_ids)))

    def append_together(self, values: Any) -> tuple[list[Row], Callable[[], None]]:
        """Append events of several sessions, all or none; return the last position of each."""
        effects, rows = Effects(), []
        try:
            for append in msgspec.json.decode(values[0]):
                columns = [append[name] for name in ("topics", "states", "metadata")]
                columns += [_bytes(append["hashes"]), [append["key_id"]], _bytes(append["macs"])]
                row = msgspec.json.encode(append["status_row"])
                of_session = UUID(append["session_id"]), append["first_version"], *chain(*columns), row
                rows.append({"position": self._ledger.append(of_session, effects)})
        except BaseException:
            effects.undo()
            raise
        effects.tell()
        return rows, effects.undo

    def reserve_all(self, values: Any) -> list[Row]:
        """Reserve receipts for sessions; return their holders."""
        claims = zip(values["receipts"], values["session_ids"], strict=True)
        return [
            {"receipt": receipt} | self._ledger.reserve((receipt, values["kind"], of))[0]
            for receipt, of in claims
        ]


def _bytes(written: list[str]) -> list[bytes]:
    return [bytes.fromhex(each.removeprefix("\\x")) for each in written]
