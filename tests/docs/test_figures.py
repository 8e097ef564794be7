"""Figures in the documents that are constants of the code are those of the code. One more is one more line of HELD."""

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from api.cli.failures import IMPOSSIBLE, NOT_AVAILABLE, STOPPED, WRONG_SETTINGS
from api.cli.reconcile import BALANCE_BROKEN, DIFFERENCES_LEFT, NO_STATEMENT, OF_ANOTHER
from api.http.framework.json import MAX_BODY_BYTES, MAX_DEPTH
from api.http.middleware.auth import KNOWN_FOR_SECONDS, LEEWAY_SECONDS
from api.http.middleware.idempotency import _KEY as IDEMPOTENCY_KEY
from api.http.middleware.published_keys import FRESH_FOR, KEPT_FOR
from api.http.middleware.request_log import _SAFE as REQUEST_ID
from api.http.middleware.safaricom_addresses import ADDRESSES
from api.http.resources.health import READY_WITHIN_SECONDS
from api.http.schemas.pagination import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from api.http.schemas.session_queries import MAX_WAIT_SECONDS
from api.http.schemas.session_schemas import (
    MAX_ADDRESS_CHARACTERS,
    MAX_INSTRUCTION_CHARACTERS,
    MAX_NAME_CHARACTERS,
)
from api.http.streaming.long_poll import HEARTBEAT_SECONDS, RECONNECT_AFTER_MILLISECONDS
from api.http.streaming.notifier import CHECK_EVERY_SECONDS
from api.local.bootstrap import OLDEST
from api.pages.buyers import TOKEN_MINUTES
from api.server.http1 import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED
from api.server.lanes import MAX_QUEUED, OPENING_WITHIN_SECONDS, Lane, Lanes
from api.settings import described_settings
from daraja.simulator.books import MAX_BOOKINGS
from daraja.simulator.books_control import _MAX_LISTED as MOST_BOOKINGS_LISTED
from daraja.simulator.c2b_payments import _VALIDATION_SECONDS as VALIDATION_SECONDS
from daraja.simulator.callback_dispatcher import MAX_WAITING as MOST_POSTS_WAITING
from daraja.simulator.chaos import _CONTRADICTING_QUERIES as CONTRADICTING_QUERIES
from daraja.simulator.chaos import _OUTAGES_IN_PUSHES as OUTAGES_IN_PUSHES
from daraja.simulator.chaos import _PAYERS as PAYERS
from daraja.simulator.chaos import _SHORT_SECONDS as SHORT_SECONDS
from daraja.simulator.control import _MAX_LISTED as MOST_PROMPTS_LISTED
from daraja.simulator.gateway_requests import _MAX_DESCRIPTION as MOST_DESCRIPTION
from daraja.simulator.gateway_requests import _MAX_REFERENCE as MOST_REFERENCE
from daraja.simulator.gateway_requests import MAX_SHILLINGS
from daraja.simulator.initiator_keys import MAX_WRONG_CREDENTIALS
from daraja.simulator.initiator_operations import _MAX_IDS as MOST_OPERATION_IDS
from daraja.simulator.mobile_money import MAX_REFERENCE, MIN_PAYOUT_SHILLINGS
from daraja.simulator.prompts import MAX_CLOSED_PROMPTS, MAX_OPEN_PROMPTS
from daraja.simulator.pull_transactions import _WINDOW as PULL_WINDOW
from daraja.simulator.server import _MAX_BODY_BYTES as MOST_BYTES_SIMULATED
from daraja.simulator.server import _MAX_CONNECTIONS as MOST_CONNECTIONS_SIMULATED
from daraja.simulator.simulator_settings import MAX_DELAY_SECONDS, SimulatorSettings
from daraja.simulator.wallets import MAX_WALLETS
from ledger.session.events import EVENT_CLASSES
from ledger.store.database import PREPARE_AFTER
from ledger.store.locks import ASK_AGAIN_SECONDS
from ledger.store.migrate import OLDEST_POSTGRESQL, migrations
from payments.checkout.circuit_breaker import MAX_FAILURES, MAX_OPEN, MIN_OPEN
from payments.checkout.next_action import _AFTER_REFUSAL as AFTER_REFUSAL
from payments.checkout.next_action import _AFTER_RESULT as AFTER_RESULT
from payments.checkout.next_action import _GROWING_GAPS as GROWING_GAPS
from payments.checkout.terms import MAX_ATTEMPTS
from payments.confirmation.query_log import QUERY_SCHEDULE
from payments.idempotency.idempotency_store import ANSWERS_LAST
from payments.inbox.callback_tokens import _SIGNATURE_BYTES as SIGNATURE_BYTES
from payments.inbox.callback_tokens import make_token
from payments.inbox.inbox import MAX_BYTES_KEPT, MAX_UNAUTHENTICATED_KEPT
from payments.reconciliation.c2b import DECIDE_WITHIN_SECONDS
from payments.reconciliation.missing_payments import PAID_WITHIN
from payments.reconciliation.pull import EVERY as PULLED_EVERY
from payments.reconciliation.pull import USUAL_WINDOW
from payments.reconciliation.statements import EDGE, MAX_LISTED
from payments.refunds.approval_policy import RETRY_SCHEDULE
from payments.refunds.reversals import PAUSE_AFTER_TROUBLE, PAUSE_WHEN_AWAY
from payments.refunds.status_check_log import QUERY_SCHEDULE as REFUND_QUERY_SCHEDULE
from payments.refunds.status_checks import (
    FIRST_GAP,
    PAYMENT_TELLS_AFTER,
    RESULT_IS_LATE_AFTER,
    SENDER_IS_LOST_AFTER,
)
from payments.settlement.settlement import CALLBACK_QUERY_INTERVAL
from payments.worker.event_processor import MAX_WORKERS as ORDERS_AT_ONCE
from shop.builtin.carts import MAX_LINES
from shop.delivery import DeliveryRates
from shop.demo import LISTINGS
from shop.quantities import MAX_UNITS
from tests.simulation import test_planted_faults
from tests.simulation.deployment import APIS
from tests.simulation.deployment import WORKERS as SIMULATED_WORKERS
from tests.simulation.test_lost_callbacks import RESOLVED_WITHIN_SECONDS
from tests.support.figures import bounds, figures_in, hours, minutes, seconds
from tests.torture.system import WORKERS as TORTURED_WORKERS

ROOT = Path(__file__).resolve().parents[2]

DEFAULTS = {name: default for name, default, _ in described_settings()}
CHECK_AFTER = float(DEFAULTS["DAFTARI_CHECK_AFTER_SECONDS"])
SESSION_MINUTES = float(DEFAULTS["DAFTARI_SESSION_MINUTES"])
PROMPT_MINUTES = float(DEFAULTS["DAFTARI_PROMPT_SECONDS"]) / 60
THREADS = int(DEFAULTS["DAFTARI_WEB_THREADS"])
KIB, MIB = 1 << 10, 1 << 20
SIMULATED = SimulatorSettings()
RATES = DeliveryRates()
PLACES = next(step.sql for step in migrations() if step.name == "0002_places.sql")
COUNTIES, SUBCOUNTIES = (len(re.findall(start, PLACES)) for start in (r"\([0-9]+, '", r"\([0-9]+, [0-9]+, '"))
TOKEN_DIGITS = len(make_token(lambda _: bytes(SIGNATURE_BYTES), UUID(int=0), 1))
FREE_TO_CHANGE = Lanes[Any](THREADS)._free[Lane.CHANGING]
PLANTED_FAULTS = sum(
    len(mark.args[1])
    for name, test in vars(test_planted_faults).items()
    if name.startswith("test_a_planted_fault")
    for mark in test.pytestmark
    if mark.name == "parametrize"
)

Figures = float | tuple[float, ...]

HELD: list[tuple[str, str, Figures]] = [
    ("README.md", "Python {} or newer", float(".".join(map(str, OLDEST)))),
    ("docs/architecture.md", "Its URL ends in {} hex digits", TOKEN_DIGITS),
    ("docs/architecture.md", "without an outcome after {} seconds", CHECK_AFTER),
    ("docs/architecture.md", "After {} prompts in a row", MAX_FAILURES),
    ("docs/architecture.md", "sends none for {} seconds", seconds(MIN_OPEN)),
    ("docs/architecture.md", "up to {} seconds: buyers", seconds(MAX_OPEN)),
    ("docs/architecture.md", "an HMAC of {} bits", SIGNATURE_BYTES * 8),
    ("docs/architecture.md", "{} attempts a session", MAX_ATTEMPTS),
    ("docs/architecture.md", "kept up to {} KiB each", MAX_BYTES_KEPT / KIB),
    ("docs/architecture.md", "unauthenticated ones the newest {};", MAX_UNAUTHENTICATED_KEPT),
    ("docs/architecture.md", "are refused beyond {} KiB", MAX_BODY_BYTES / KIB),
    ("docs/architecture.md", "one attempt every {} seconds at most", seconds(CALLBACK_QUERY_INTERVAL)),
    (
        "docs/architecture.md",
        "Every {} seconds the worker signs",
        float(DEFAULTS["DAFTARI_SEAL_SECONDS"]),
    ),
    ("docs/architecture.md", "Once {} day, and at", float(DEFAULTS["DAFTARI_VERIFY_HOURS"]) / 24),
    ("docs/architecture.md", "or once {} hour, is one table", hours(PULLED_EVERY)),
    ("docs/checkout-contract.md", "`full_name` | 1 to {} characters", MAX_NAME_CHARACTERS),
    ("docs/checkout-contract.md", "`detailed_address` | 1 to {} characters", MAX_ADDRESS_CHARACTERS),
    (
        "docs/checkout-contract.md",
        "`special_instructions` | optional, up to {} characters",
        MAX_INSTRUCTION_CHARACTERS,
    ),
    ("docs/checkout-contract.md", "{} minutes from now", SESSION_MINUTES),
    ("docs/checkout-contract.md", "adds another {} minutes", SESSION_MINUTES),
    ("docs/checkout-contract.md", "most {} times, then", float(DEFAULTS["DAFTARI_MAX_EXTENSIONS"])),
    ("docs/configuration.md", "of version {} or newer", OLDEST_POSTGRESQL),
    ("docs/configuration.md", "with the {} addresses that Safaricom publishes", len(ADDRESSES)),
    ("docs/configuration.md", "| {} | Failure, or a failed check", IMPOSSIBLE),
    ("docs/configuration.md", "| {} | Configuration error", WRONG_SETTINGS),
    ("docs/configuration.md", "| {} | Something the command needs is missing", NOT_AVAILABLE),
    ("docs/configuration.md", "| {} | Interrupted.", STOPPED),
    ("docs/errors.md", "An Idempotency-Key is {} to {} visible ASCII characters", bounds(IDEMPOTENCY_KEY)),
    ("docs/errors.md", "the same number once in {} minutes", AFTER_RESULT["REPEATED_TOO_SOON"] / 60),
    ("docs/http.md", "clocks may differ by {} seconds", LEEWAY_SECONDS),
    ("docs/http.md", "are fetched anew every {} minutes", minutes(FRESH_FOR)),
    ("docs/http.md", "the last keys are good for {} hour", hours(KEPT_FOR)),
    ("docs/http.md", "one of more than {} KiB or {} headers 431", (MAX_HEAD_BYTES / KIB, MAX_HEADERS)),
    ("docs/http.md", "sent behind one another, up to {}", MAX_PIPELINED),
    ("docs/http.md", "lets {} of a kind wait", MAX_QUEUED),
    ("docs/http.md", "while a change has waited for {} seconds", OPENING_WITHIN_SECONDS),
    ("docs/http.md", "at most {} KiB, nested at most {} deep", (MAX_BODY_BYTES / KIB, MAX_DEPTH)),
    ("docs/http.md", "by then, {} minutes after the prompt", (CHECK_AFTER + seconds(GROWING_GAPS)) // 60),
    (
        "docs/http.md",
        "{} minute after M-Pesa had the phone locked",
        AFTER_REFUSAL["DARAJA_SUBSCRIBER_BUSY"] / 60,
    ),
    ("docs/http.md", "{} after it took the payment for a repetition", AFTER_RESULT["REPEATED_TOO_SOON"] / 60),
    ("docs/http.md", "`wait` seconds (0 to {})", MAX_WAIT_SECONDS),
    ("docs/http.md", "a comment every {} seconds", HEARTBEAT_SECONDS),
    ("docs/http.md", "after the {} seconds of its `retry`", RECONNECT_AFTER_MILLISECONDS / 1_000),
    ("docs/http.md", "within {} of a second of one another", CHECK_EVERY_SECONDS),
    ("docs/http.md", "for {} hours the same key", hours(ANSWERS_LAST)),
    (
        "docs/http.md",
        "`page_size` is {}, and more than {} means {}",
        (DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, MAX_PAGE_SIZE),
    ),
    ("docs/http.md", "the database answers, within {} second", READY_WITHIN_SECONDS),
    ("docs/http.md", "`X-Request-ID` ({} to {} letters", bounds(REQUEST_ID)),
    ("docs/performance-trials.md", "a good token's signature asked again after {} s", KNOWN_FOR_SECONDS),
    ("docs/performance.md", "The next look comes {} of a second", CHECK_EVERY_SECONDS),
    (
        "docs/performance.md",
        "(`DAFTARI_MAX_WAITING_PUSHES`, {}), yet works on {} at once, of which {} may change",
        (float(DEFAULTS["DAFTARI_MAX_WAITING_PUSHES"]), THREADS, FREE_TO_CHANGE),
    ),
    ("docs/performance.md", "So {} requests are worked on at once", THREADS),
    ("docs/performance-trials.md", "Orders of {} sessions at once", ORDERS_AT_ONCE),
    ("docs/performance-trials.md", "prepared at their {} use", PREPARE_AFTER + 1),
    ("docs/performance-trials.md", "whose silence is trusted for {} s", ASK_AGAIN_SECONDS),
    ("docs/reconciliation.md", "when we ask, from {} s after the prompt", CHECK_AFTER),
    ("docs/reconciliation.md", "answered within {} seconds", DECIDE_WITHIN_SECONDS),
    ("docs/reconciliation.md", "the worker asks {} hour", hours(PULLED_EVERY)),
    ("docs/reconciliation.md", "reaches back {} hours", hours(USUAL_WINDOW)),
    ("docs/reconciliation.md", "(less {} minutes at either end)", minutes(EDGE)),
    ("docs/reconciliation.md", "from its request to {} hour later", hours(PAID_WITHIN)),
    ("docs/reconciliation.md", "and the {} differences of each kind", MAX_LISTED),
    ("docs/reconciliation.md", "| {} | differences are left", DIFFERENCES_LEFT),
    ("docs/reconciliation.md", "| {} | this is not a statement", NO_STATEMENT),
    ("docs/reconciliation.md", "| {} | its running balance", BALANCE_BROKEN),
    ("docs/reconciliation.md", "| {} | it is of another shortcode", OF_ANOTHER),
    (
        "docs/reconciliation.md",
        "at {} s, then after another {}, {}, {}, {} and {} s",
        (CHECK_AFTER, *map(seconds, QUERY_SCHEDULE.pauses[:5])),
    ),
    (
        "docs/refunds.md",
        "tried again after {}, {} and {} minutes",
        tuple(map(minutes, RETRY_SCHEDULE.pauses)),
    ),
    ("docs/refunds.md", "the next one is sent after {} minute", minutes(PAUSE_WHEN_AWAY)),
    ("docs/refunds.md", "twice as long, to {} minutes", minutes(PAUSE_AFTER_TROUBLE)),
    ("docs/refunds.md", "nothing is sent by itself for {} minutes", minutes(PAUSE_AFTER_TROUBLE)),
    ("docs/refunds.md", "({} s without an answer)", seconds(SENDER_IS_LOST_AFTER)),
    ("docs/refunds.md", "no result came within {} minutes", minutes(RESULT_IS_LATE_AFTER)),
    ("docs/refunds.md", "once {} minutes have passed", minutes(PAYMENT_TELLS_AFTER)),
    ("docs/refunds.md", '"Completed" of the payment after {} minutes', minutes(PAYMENT_TELLS_AFTER)),
    (
        "docs/refunds.md",
        "after {} minute, then {}, {}, {}, {} minutes and ever more rarely, {} times in all",
        (*map(minutes, (FIRST_GAP, *REFUND_QUERY_SCHEDULE.pauses[:4])), REFUND_QUERY_SCHEDULE.max_tries),
    ),
    ("docs/reliability.md", "{} API processes and {} workers", (len(APIS), len(SIMULATED_WORKERS))),
    ("docs/reliability.md", "each of {} faults planted", PLANTED_FAULTS),
    ("docs/reliability.md", "is resolved within {} seconds of virtual time", RESOLVED_WITHIN_SECONDS),
    ("docs/reliability.md", "the API with two processes, and {} workers", TORTURED_WORKERS),
    ("docs/reliability.md", "the newest {} unauthenticated messages", MAX_UNAUTHENTICATED_KEPT),
    (
        "docs/reliability.md",
        "one query an attempt every {} seconds",
        seconds(CALLBACK_QUERY_INTERVAL),
    ),
    ("docs/shop-page.md", "good for {} hour", TOKEN_MINUTES / 60),
    ("docs/shop.md", "at most {} units", MAX_UNITS),
    ("docs/shop.md", "is free from {} of goods", RATES.free_from_cents / 100),
    ("docs/shop.md", "it costs {}, plus", RATES.base_cents / 100),
    (
        "docs/shop.md",
        "plus {} above {} kg",
        (RATES.heavy_surcharge_cents / 100, RATES.heavy_above_grams / 1_000),
    ),
    (
        "docs/shop.md",
        "or {} above {} kg",
        (RATES.very_heavy_surcharge_cents / 100, RATES.very_heavy_above_grams / 1_000),
    ),
    ("docs/shop.md", "holds at most {} lines", MAX_LINES),
    ("docs/shop.md", "Kenya's {} counties", COUNTIES),
    ("docs/shop.md", "and {} subcounties", SUBCOUNTIES),
    ("docs/shop.md", "{} farms with {} products", (len({farm for _, farm, *_ in LISTINGS}), len(LISTINGS))),
    ("docs/simulator.md", "| a prompt's lifetime | {} s |", SIMULATED.prompt_seconds),
    (
        "docs/simulator.md",
        "| KES {}, {}, {} |",
        (SIMULATED.wallet_shillings, SIMULATED.daily_limit_shillings, SIMULATED.transaction_limit_shillings),
    ),
    ("docs/simulator.md", "refused with 17 within {} s", SIMULATED.repeat_window_seconds),
    ("docs/simulator.md", "| {} s after the acknowledgement |", SIMULATED.result_seconds),
    ("docs/simulator.md", "after at most {} s without an answer", SIMULATED.callback_timeout_seconds),
    ("docs/simulator.md", "oldest first, at most {} |", MOST_BOOKINGS_LISTED),
    ("docs/simulator.md", "after {} wrong tries", MAX_WRONG_CREDENTIALS),
    ("docs/simulator.md", "validated first ({} s;", VALIDATION_SECONDS),
    (
        "docs/simulator.md",
        "payments of the last {} hours, {} a page",
        (hours(PULL_WINDOW), SIMULATED.pull_page_rows),
    ),
    ("docs/simulator.md", "2 below KES {};", MIN_PAYOUT_SHILLINGS),
    ("docs/simulator.md", "An account number of more than {} characters", MAX_REFERENCE),
    ("docs/simulator.md", "a whole number from 1 to {};", MAX_SHILLINGS),
    ("docs/simulator.md", "AccountReference has at most {} characters", MOST_REFERENCE),
    ("docs/simulator.md", "is present and has at most {}.", MOST_DESCRIPTION),
    (
        "docs/simulator.md",
        "pays the same amount twice within {} minutes",
        SIMULATED.repeat_window_seconds / 60,
    ),
    ("docs/simulator.md", "newest first, at most {} |", MOST_PROMPTS_LISTED),
    ("docs/simulator.md", "after 1 push in {} |", 1 / OUTAGES_IN_PUSHES),
    ("docs/simulator.md", "an outage of up to {} seconds", SHORT_SECONDS),
    (
        "docs/simulator.md",
        "{} % pay within {} seconds, {} % cancel, {} % ignore, {} % enter a wrong PIN, {} % have no money",
        (next(iter(PAYERS.values())), SHORT_SECONDS, *list(PAYERS.values())[1:]),
    ),
    ("docs/simulator.md", "| 1 in {} | say 1032 |", 1 // CONTRADICTING_QUERIES),
    (
        "docs/simulator.md",
        "in simulated time: {} seconds by default, up to {}",
        (SIMULATED.chaos_longest_delay_seconds, MAX_DELAY_SECONDS),
    ),
    (
        "docs/simulator.md",
        "{} open prompts and the last {} closed ones; {} bookings",
        (MAX_OPEN_PROMPTS, MAX_CLOSED_PROMPTS, MAX_BOOKINGS),
    ),
    (
        "docs/simulator.md",
        "{} ids of reversals and payouts; {} posts waiting; {} wallets; {} connections; bodies up to {} MiB",
        (
            MOST_OPERATION_IDS,
            MOST_POSTS_WAITING,
            MAX_WALLETS,
            MOST_CONNECTIONS_SIMULATED,
            MOST_BYTES_SIMULATED / MIB,
        ),
    ),
    ("docs/adr/0001-an-event-class-holds-what-it-sets.md", "With {} events", len(EVENT_CLASSES)),
    ("docs/adr/0005-facts-beyond-the-first-list.md", "After {} minutes of silence", PROMPT_MINUTES),
    (
        "docs/adr/0006-a-lost-answer-is-not-an-error.md",
        "a second prompt is refused for {} minutes",
        PROMPT_MINUTES,
    ),
    (
        "docs/adr/0009-blocks-are-signed-by-a-key-of-the-master-key.md",
        "since the last block ({} seconds,",
        float(DEFAULTS["DAFTARI_SEAL_SECONDS"]),
    ),
]
"""A page, a fragment of it with {} for each figure, and what the code says of these."""


@pytest.mark.parametrize(("page", "fragment", "figures"), HELD, ids=lambda part: str(part)[:60])
def test_a_figure_of_the_documents_is_that_of_the_code(page: str, fragment: str, figures: Figures) -> None:
    found = figures_in((ROOT / page).read_text("utf-8"), fragment)
    assert found, f"{page} has no such sentence any more: {fragment}"
    expected = figures if isinstance(figures, tuple) else (figures,)
    assert [pytest.approx(expected)] * len(found) == found


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("waits ten seconds", [(10,)]),
        ("Waits\n  1,250.50 seconds", [(1250.5,)]),
        ("waits half a\nseconds, or waits 3 seconds", [(0.5,), (3,)]),
        ("waits many seconds", []),
        ("awaits 3 seconds", []),
    ],
)
def test_a_figure_is_read_as_digits_or_words_wherever_the_line_breaks(
    text: str, figures: list[tuple[float, ...]]
) -> None:
    assert figures_in(text, "waits {} seconds") == figures
