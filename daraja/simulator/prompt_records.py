"""Prompts and their outcomes as records of the state file, and back."""

from dataclasses import fields
from datetime import datetime
from operator import attrgetter

from daraja.simulator.outcomes import CallbackDelivery, Script
from daraja.simulator.prompts import PromptOutcome, StkPrompt
from daraja.simulator.state_file import Record, record

_SCRIPT_FIELDS = fields(Script)
_WRITTEN_DELIVERY = attrgetter(*(field.name for field in fields(CallbackDelivery)))


def prompt_record(prompt: StkPrompt) -> Record:
    """Return the record of a prompt that was opened."""
    return record(
        "prompt",
        checkout_request_id=prompt.checkout_request_id,
        merchant_request_id=prompt.merchant_request_id,
        phone=prompt.phone,
        amount_shillings=prompt.amount_shillings,
        account_reference=prompt.account_reference,
        description=prompt.description,
        callback_url=prompt.callback_url,
        opened_at=prompt.opened_at.isoformat(),
        expires_at=prompt.expires_at.isoformat(),
        script=_written(prompt.script),
        is_till=prompt.is_till,
    )


def read_prompt(read: Record) -> StkPrompt:
    """Return the prompt of a record."""
    script = read.pop("script")
    opened_at, expires_at = (datetime.fromisoformat(read.pop(name)) for name in ("opened_at", "expires_at"))
    return StkPrompt(opened_at=opened_at, expires_at=expires_at, script=_script(script), **read)


def outcome_record(prompt: StkPrompt, outcome: PromptOutcome) -> Record:
    """Return the record of how a prompt ended."""
    return record(
        "ended",
        checkout_request_id=prompt.checkout_request_id,
        code=outcome.code,
        at=outcome.at.isoformat(),
        receipt=outcome.receipt,
        balance_shillings=outcome.balance_shillings,
    )


def read_outcome(read: Record) -> tuple[str, PromptOutcome]:
    """Return the id of the prompt that ended, and how."""
    checkout_request_id, at = str(read.pop("checkout_request_id")), datetime.fromisoformat(read.pop("at"))
    return checkout_request_id, PromptOutcome(at=at, **read)


def _written(script: Script) -> Record:
    """Return a script's fields; asdict() would take as long as the rest of a push."""
    written = {field.name: getattr(script, field.name) for field in _SCRIPT_FIELDS}
    for name in ("deliveries", "forgeries"):
        written[name] = [_WRITTEN_DELIVERY(delivery) for delivery in written[name]]
    return written


def _script(written: Record) -> Script:
    deliveries, forgeries = (
        tuple(CallbackDelivery(*delivery) for delivery in written.pop(name))
        for name in ("deliveries", "forgeries")
    )
    queries = tuple((float(age), str(name)) for age, name in written.pop("queries"))
    return Script(deliveries=deliveries, forgeries=forgeries, queries=queries, **written)
