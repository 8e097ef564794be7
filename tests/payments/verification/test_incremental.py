"""An incremental run reads what changed since a run of ours found nothing wrong, and trusts nothing else."""

from datetime import timedelta
from functools import partial

import psycopg
import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.application import Ledger
from ledger.store.block_signer import BlockSigner
from ledger.store.database import Database
from ledger.store.vault import ERASED_VALUE, Vault
from payments.verification.verifier import INCREMENTAL_EVERY, Verifier, examine_all, open_store
from projections.figure_sums import PaymentFigures
from projections.follower import Follower
from projections.integrity.processes import Processes
from projections.integrity.verification_runs import Form, VerificationRun
from projections.metrics import PaymentMetrics
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY, event_macs

DAY = timedelta(days=1)
WRITE_FREELY = "SET session_replication_role = replica"  # Triggers, the keepers of the log, do not fire then.
FORGED_RUN = """
INSERT INTO verification_runs SELECT gen_random_uuid(), now(), now(), events, version, violations, form,
    (SELECT origin || '-' || number || '-' || encode(hash, 'hex') FROM signed_blocks ORDER BY number DESC LIMIT 1),
    key_id, mac FROM verification_runs
"""

FORGED_EVENT = """
INSERT INTO payment_events
    (session_id, version, topic, state, recorded_at, origin, position, previous_hash, hash, key_id, mac)
SELECT session_id, version + 1, topic, coalesce(%s, state), recorded_at, origin, -5, hash, sha256(hash), 1,
    sha256('forged')
FROM payment_events WHERE session_id = %s ORDER BY version DESC LIMIT 1
"""
CLEAN_RUN = """
INSERT INTO verification_runs (run_id, started_at, finished_at, events, version, violations, form)
VALUES (gen_random_uuid(), now(), now(), 3, '0.1.0', '[]', 'whole')
"""

A_REFUND = """
INSERT INTO payment_refunds (session_id, refund, attempt, state, amount_cents, why, due_at, in_doubt, failures,
                             unsent_in_a_row, of_order, restock)
VALUES (%s, 1, 1, 'due', 1, 'x', now(), false, 0, 0, false, false)
"""


@pytest.fixture
def verifier(database: Database) -> Verifier:
    return Verifier(database, Vault(database, MASTER_KEY), prompt_seconds=60, every=DAY)


@pytest.fixture
def verified(ledger: Ledger, database: Database, verifier: Verifier) -> Checkout:
    """A session of which a whole run found nothing wrong, below a signed block."""
    session = prompted(ledger)
    sign(database)
    for projection in (PaymentMetrics(), PaymentFigures()):
        Follower(database, event_macs(database), projection).catch_up()
    run = verifier.run()
    assert (run.form, run.violations, run.events) == ("whole", [], 3)
    return session


def checkout(ledger: Ledger) -> Checkout:
    """Return a session whose customer was erased, so that nothing of it has to open."""
    return Checkout(ledger, phone_sealed=ERASED_VALUE, delivery_sealed=ERASED_VALUE)


def prompted(ledger: Ledger) -> Checkout:
    return checkout(ledger).request(ERASED_VALUE).initiate()


def sign(database: Database) -> None:
    until_readable(database)
    BlockSigner(database, lambda: Vault(database, MASTER_KEY).block_key).run()


def tamper(database: Database, statement: str, *values: object) -> None:
    with psycopg.connect(database.url, autocommit=True) as intruder:
        intruder.execute(WRITE_FREELY)
        assert intruder.execute(statement.encode(), values).rowcount > 0


def rules(run: VerificationRun) -> set[str]:
    return {violation["rule"] for violation in run.violations}


@pytest.mark.usefixtures("verified")
def test_only_sessions_that_changed_are_read(ledger: Ledger, verifier: Verifier) -> None:
    checkout(ledger)
    run = verifier.run(form=Form.INCREMENTAL)
    assert (run.form, run.violations, run.events) == ("incremental", [], 1)


def test_of_a_session_that_changed_everything_is_read(
    ledger: Ledger, database: Database, verifier: Verifier, verified: Checkout
) -> None:
    verified.cancel()
    assert verifier.run(form=Form.INCREMENTAL).events > 3
    sign(database)
    assert verifier.run(form=Form.INCREMENTAL).events > 3
    assert verifier.run(form=Form.INCREMENTAL).events == 0  # The run before began after the block was signed.
    checkout(ledger)
    assert verifier.run(form=Form.INCREMENTAL).events == 1


@pytest.mark.usefixtures("verified")
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM payment_events WHERE version = 2",
        "UPDATE payment_events SET position = position - 1 WHERE version = 1",
        "UPDATE payment_events SET hash = previous_hash WHERE version = 2",
        "INSERT INTO payment_events SELECT gen_random_uuid(), version, topic, state, previous_hash, hash, origin,"
        " position - 1, recorded_at, metadata, key_id, mac FROM payment_events WHERE version = 1",
    ],
)
def test_what_is_added_or_removed_below_the_block_is_found(
    database: Database, verifier: Verifier, statement: str
) -> None:
    tamper(database, statement)
    run = verifier.run(form=Form.INCREMENTAL)
    assert (run.form, rules(run)) == ("incremental", {"blocks"})


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE payment_sessions SET received_cents = 1", "sums"),
        ("DELETE FROM payment_sessions", "metrics"),
        ("UPDATE payment_metrics SET pending = 7", "metrics"),
        ("UPDATE signed_blocks SET hash = previous_hash", "blocks"),
    ],
)
@pytest.mark.usefixtures("verified")
def test_what_sums_and_figures_tell_of_old_sessions_is_found(
    database: Database, verifier: Verifier, statement: str, rule: str
) -> None:
    tamper(database, statement)
    assert rule in rules(verifier.run(form=Form.INCREMENTAL))


def test_open_refunds_are_folded_whatever_their_age(
    database: Database, verifier: Verifier, verified: Checkout
) -> None:
    tamper(database, A_REFUND, verified.session_id)
    assert rules(verifier.run(form=Form.INCREMENTAL)) == {"refunds"}


@pytest.mark.usefixtures("verified")
def test_only_a_whole_run_finds_content_that_was_changed_under_its_hash(
    database: Database, verifier: Verifier
) -> None:
    tamper(database, "UPDATE payment_events SET state = jsonb_set(state, '{attempt}', '9') WHERE version = 2")
    assert verifier.run(form=Form.INCREMENTAL).violations == []
    assert "hash chain" in rules(verifier.run())
    verifier.run(form=Form.INCREMENTAL)
    shown = verifier.last()
    assert shown is not None
    assert (shown.form, "hash chain" in rules(shown)) == (
        "whole",
        True,
    )  # A later incremental run does not hide it.


def test_an_event_below_the_first_position_is_read(
    database: Database, verifier: Verifier, verified: Checkout
) -> None:
    """No block covers it. The function that appends takes the place of an event within its commit from a setting."""
    tamper(database, FORGED_EVENT, None, verified.session_id)
    assert "event macs" in rules(verifier.run(form=Form.INCREMENTAL))


@pytest.mark.parametrize("form", Form)
def test_an_event_that_cannot_be_decoded_is_reported(
    database: Database, verifier: Verifier, verified: Checkout, form: Form
) -> None:
    deep = f'{{"x": {"[" * 3_000}{"]" * 3_000}}}'
    tamper(database, FORGED_EVENT, deep, verified.session_id)
    assert "versions" in rules(verifier.run(form=form))


@pytest.mark.usefixtures("verified")
def test_without_the_block_of_the_start_all_signatures_are_asked_for(
    database: Database, verifier: Verifier
) -> None:
    """Somebody with the owner's rights removes the blocks and makes one of their own, which nobody has signed."""
    tamper(database, "UPDATE signed_blocks SET signature = sha256('x') || sha256('y'), hash = sha256(hash)")
    assert "blocks" in rules(verifier.run(form=Form.INCREMENTAL))


@pytest.mark.usefixtures("verified")
def test_a_clean_run_that_somebody_else_wrote_hides_no_violation(
    database: Database, verifier: Verifier
) -> None:
    tamper(database, "UPDATE payment_events SET state = jsonb_set(state, '{attempt}', '9') WHERE version = 2")
    verifier.run()
    with database.transaction() as attacker:
        attacker.execute(CLEAN_RUN)
    shown = verifier.last()
    assert shown is not None
    assert "hash chain" in rules(shown)


@pytest.mark.usefixtures("verified")
def test_a_run_that_somebody_else_wrote_is_no_start(
    ledger: Ledger, database: Database, verifier: Verifier
) -> None:
    prompted(ledger)
    sign(database)
    with database.transaction() as attacker:
        attacker.execute(FORGED_RUN)
    assert verifier.run(form=Form.INCREMENTAL).events == 3  # From the genuine run on.
    tamper(database, "UPDATE verification_runs SET mac = sha256(mac)")
    assert verifier.run(form=Form.INCREMENTAL).form == "whole"


@pytest.mark.usefixtures("verified")
def test_a_run_that_found_something_is_no_start(
    ledger: Ledger, database: Database, verifier: Verifier
) -> None:
    session_id = prompted(ledger).session_id
    tamper(database, "UPDATE payment_sessions SET attempts = 5 WHERE session_id = %s", session_id)
    sign(database)
    for _ in range(2):
        run = verifier.run(form=Form.INCREMENTAL)
        assert (run.events, rules(run), run.verified_block) == (3, {"rows"}, None)


@pytest.mark.usefixtures("verified")
def test_runs_are_incremental_between_whole_ones(verifier: Verifier) -> None:
    assert verifier.due() is None
    with freeze_time(clock.now() + INCREMENTAL_EVERY):
        assert verifier.due() == Form.INCREMENTAL
        verifier.run(form=Form.INCREMENTAL)
        assert verifier.due() is None
    with freeze_time(clock.now() + DAY):
        assert verifier.due() == Form.WHOLE


def test_processes_that_share_a_run_see_its_snapshot(ledger: Ledger, database: Database) -> None:
    wrong = prompted(ledger).session_id
    checkout(ledger)
    sign(database)
    tamper(database, "UPDATE payment_sessions SET attempts = 5 WHERE session_id = %s", wrong)
    vault = Vault(database, MASTER_KEY)

    def go_on(_: int) -> None:
        checkout(ledger)

    processes = Processes(2, partial(open_store, database.url, "", MASTER_KEY))
    found = examine_all(database, vault, processes=processes, on_progress=go_on)
    assert found.events == 4
    assert [(each.rule, each.session_id) for each in found.violations] == [("rows", wrong)]
