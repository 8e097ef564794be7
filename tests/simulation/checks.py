"""The checks after a run: the ledger's invariants, and our books against those of M-Pesa, shop and clients."""

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from ledger.session.session import PaymentSession
from ledger.session.values import AttemptState, RefundState
from projections.integrity import invariants
from projections.integrity.violations import Violation
from tests.simulation.buyers import Buyers
from tests.simulation.deployment import Deployment
from tests.simulation.memory_database import MemoryDatabase
from tests.simulation.memory_mpesa import MemoryMpesa
from tests.simulation.mpesa_organisation import MpesaOrganisation
from tests.simulation.order_refunds import PAYOUT
from tests.simulation.verification_tables import VerificationTables

KNOWN_TEXTS = ("Jane Wanjiru", "Moi Avenue")


class Checks:
    """Checks a finished run; `with_texts` searches the tables for personal data too, which is slow."""

    def __init__(
        self,
        deployment: Deployment,
        mpesa: MemoryMpesa,
        organisation: MpesaOrganisation,
        buyers: Buyers,
        *,
        with_texts: bool,
    ) -> None:
        self._with_texts = with_texts
        self._deployment = deployment
        self._tables = deployment.tables
        self._mpesa = mpesa
        self._organisation = organisation
        self._buyers = buyers
        self._services = deployment.services()
        self._sessions: dict[UUID, PaymentSession] = {}

    def violations(self) -> list[str]:
        """Return a sentence for each violation."""
        forged = self._deployment.forged
        of_store = self._of_store()
        found = self._deployment.errors + [str(each) for each in of_store if not self._is_of_forged(each)]
        named = {each.session_id for each in of_store if each.rule == "event macs"}
        found += [f"the forged row of session {session_id} is not found" for session_id in forged - named]
        self._sessions = {
            session_id: self._services.ledger.session(session_id)
            for session_id in self._tables.ledger.rows
            if session_id not in forged
        }
        for rule in (
            self._of_money,
            self._of_refunds,
            self._of_attempts,
            self._of_orders,
            self._of_stock,
            self._of_messages,
            self._of_acknowledgements,
            self._of_keys,
        ):
            found += rule()
        return found

    def _of_store(self) -> list[Violation]:
        tables = self._tables
        tables.handlers.update(VerificationTables(tables, with_texts=self._with_texts).handlers())
        return invariants.check(
            MemoryDatabase(tables),
            self._services.vault,
            known_texts=KNOWN_TEXTS,
            with_messages=True,
            prompt_seconds=self._deployment.settings.daftari_prompt_seconds,
        )

    def _is_of_forged(self, violation: Violation) -> bool:
        """Say whether a violation is of a session with a forged row, or of sums that its status row is part of."""
        forged = self._deployment.forged
        return violation.session_id in forged or (bool(forged) and violation.rule in ("sums", "metrics"))

    def _of_money(self) -> Iterator[str]:
        """Each payment of M-Pesa's is credited once, to the session that asked for it, and nothing else is credited."""
        named = self._tables.ledger.attempt_of_transaction
        of_forged = {
            number for number, (session_id, _) in named.items() if session_id in self._deployment.forged
        }
        payments = [each for each in self._mpesa.payments if each.reference[1:] not in of_forged]
        credited: Counter[str] = Counter()
        for session in self._sessions.values():
            credited.update(session.receipts)
        true = {str(payment.receipt): payment for payment in payments}
        for receipt in credited.keys() - true.keys():
            yield f"receipt {receipt} is credited, and M-Pesa never moved it"
        for receipt, payment in true.items():
            if payment.reference[1:] not in named:
                yield f"{payment.reference}: {receipt} was paid, and no attempt is recorded"
                continue
            session_id, attempt = named[payment.reference[1:]]
            credit = self._sessions[session_id].credits.get(receipt)
            if credit is None:
                yield f"{payment.reference}: {receipt} was paid, and its session {session_id} does not know it"
            elif (credit.attempt, credit.amount_cents, credited[receipt]) != (
                attempt,
                payment.shillings * 100,
                1,
            ):
                yield f"{payment.reference}: {receipt} is credited wrongly, or more than once"
        received = sum(session.received_cents for session in self._sessions.values())
        moved = sum(payment.shillings * 100 for payment in payments)
        if received != moved:
            yield f"M-Pesa moved {moved} cents, and {received} are recorded as received"

    def _of_refunds(self) -> Iterator[str]:
        """Refunds and completed reversals agree, and no payment was reversed twice."""
        for session in self._sessions.values():
            for refund in session.refunds.values():
                if refund.reversal_receipt is not None and refund.reversal_receipt.startswith(PAYOUT):
                    continue
                sent = self._organisation.reversal_of(refund.receipt)
                is_done = refund.state == RefundState.REFUNDED
                if is_done != (sent is not None):
                    yield f"refund {refund.number} of {session.id} is {refund.state}, and M-Pesa's reversal is {sent}"
        for number, reversal in enumerate(self._organisation.reversals):
            earlier = (e for e in self._organisation.reversals[:number] if e.payment is reversal.payment)
            if any(each.code == 0 for each in earlier):
                yield f"{reversal.payment.receipt} was sent for reversal again after it had been reversed"

    def _of_attempts(self) -> Iterator[str]:
        """Each attempt has an outcome, unless its CheckoutRequestID is unknown and M-Pesa never reported it."""
        prompts = {prompt.reference: prompt for prompt in self._mpesa.prompts.values()}
        for session in self._sessions.values():
            for attempt in session.open_attempts:
                prompt = prompts.get(f"D{attempt.transaction_id}")
                if attempt.checkout_sealed is not None or (prompt and (prompt.is_reported or prompt.receipt)):
                    yield f"attempt {attempt.number} of {session.id} is still {attempt.state}"

    def _of_orders(self) -> Iterator[str]:
        """Each paid session has an order or a refund, and each order, as the shop has it, its session's money."""
        made = self._deployment.shop.orders
        for session_id in made.keys() - self._sessions.keys():
            yield f"session {session_id} has an order in the shop, and no events"
        for session in self._sessions.values():
            placed, request = made.get(session.id, (None, None))
            ordered = (placed.order_id, request.total_cents) if placed and request else (None, 0)
            expected = (session.order[0], session.totals.total_cents) if session.order else (None, 0)
            if ordered != expected and (session.status != "paid" or ordered[1] != session.totals.total_cents):
                yield f"the order of session {session.id} is {ordered} in the shop, and {expected} in its events"
            if session.status == "paid":
                yield f"session {session.id} is paid, and has neither order nor refund"
            if session.status == "pending" and not session.open_attempts:
                yield f"session {session.id} is pending for ever"
        for session_id in self._deployment.forged & self._deployment.shop.orders.keys():
            yield f"session {session_id} has an order for a forged payment"

    def _of_stock(self) -> Iterator[str]:
        """Stock is never negative, and is what was stocked minus what was sold; a line is bought once."""
        shop = self._deployment.shop
        sold: Counter[int] = Counter()
        bought: Counter[int] = Counter()
        for session_id, (_, request) in shop.orders.items():
            for line in request.lines:
                assert line.listing_id is not None
                assert line.cart_item_id is not None
                is_back = session_id in shop.returned
                sold[line.listing_id] += 0 if is_back else line.quantity_thousandths
                bought[line.cart_item_id] += 1
        for listing_id, stock in shop.stock.items():
            if stock < 0 or stock != shop.stocked[listing_id] - sold[listing_id]:
                detail = f"of {shop.stocked[listing_id]} with {sold[listing_id]} sold"
                yield f"listing {listing_id} holds {stock} thousandths, {detail}"
        yield from (
            f"cart item {item} was bought {times} times" for item, times in bought.items() if times > 1
        )
        numbers = [placed.order_number for placed, _ in shop.orders.values()]
        if len(numbers) != len(set(numbers)):
            yield "an order number was given twice"

    def _of_messages(self) -> Iterator[str]:
        """Each acknowledged body is in the inbox as often, and no message or event is left unprocessed."""
        messages = self._tables.worker.messages.values()
        kept = Counter(message["body_sha256"] for message in messages)
        for digest, times in self._deployment.acknowledged.items():
            if kept[digest] < times:
                yield f"a body was acknowledged {times} times, and stored {kept[digest]} times"
        yield from (
            f"message {x['inbox_id']} is still unprocessed: {x['reason']}"
            for x in messages
            if x["state"] == "new"
        )
        for key, failure in self._tables.worker.failures.items():
            if key[1] in self._deployment.forged and failure["state"] == "set_aside":
                continue
            yield f"event {key} failed and was not retried successfully"

    def _of_acknowledgements(self) -> Iterator[str]:
        """What was acknowledged to a client holds."""
        acknowledged, forged = self._buyers.acknowledged, self._deployment.forged
        yield from acknowledged.violations
        for (user_id, key), session_id in acknowledged.sessions.items():
            if session_id not in self._sessions and session_id not in forged:
                yield f"user {user_id} got session {session_id} under {key}, which does not exist"
        for session_id, numbers in acknowledged.attempts.items():
            if session_id in forged:
                continue
            known = {attempt.transaction_id for attempt in self._sessions[session_id].attempts.values()}
            if not numbers <= known:
                yield f"session {session_id} lacks attempts that were acknowledged"
        for session_id, until in acknowledged.extended.items():
            if session_id not in forged and self._sessions[session_id].expires_at < until:
                yield f"session {session_id} lacks an extension that was acknowledged"

    def _of_keys(self) -> Iterator[str]:
        """One key has one effect; an attempt that M-Pesa refused has none.

        An extension may repeat if the database failed before the answer was stored under its key: it costs nothing,
        and is bounded.
        """
        acknowledged = self._buyers.acknowledged
        for session_id, session in self._sessions.items():
            sent = [each for each in session.attempts.values() if each.state != AttemptState.REFUSED]
            if len(sent) > len(acknowledged.keys.get(session_id, ())):
                yield f"session {session_id} has more attempts than its client requested"
            if session.extensions > acknowledged.extend_requests[session_id]:
                yield f"session {session_id} was extended more often than its client requested"
