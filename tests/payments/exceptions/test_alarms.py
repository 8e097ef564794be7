"""What runs out is warned of in time, and no longer once it is renewed."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ledger.clock import NAIROBI
from ledger.store.database import Database
from payments.exceptions.alarms import CERTIFICATE, INITIATOR_PASSWORD, PULL_BEHIND, Alarms, AlarmTerms
from payments.exceptions.next_steps import Kind
from payments.exceptions.work_list import open_cases, tally
from payments.reconciliation.pull_progress import PullProgressStore

SET_AT = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def warned(database: Database, now: datetime, **watched: object) -> list[str]:
    """Return the kinds of alarms at a moment, as the work list shows them."""
    nothing = {"password_set_at": None, "certificate_ends_at": None, "pulled_shortcode": None}
    alarms = Alarms(database, AlarmTerms(**nothing | watched)).open(now)  # type: ignore[arg-type]  # by name
    shown = [str(case.kind) for case in open_cases(database, now, alarms=alarms)]
    assert sum(each.cases for each in tally(database, now, alarms=alarms).values()) == len(shown)
    return shown


def test_a_password_is_warned_of_from_its_seventy_fifth_day(database: Database) -> None:
    assert warned(database, SET_AT + 75 * DAY - HOUR, password_set_at=SET_AT) == []
    for days in (75, 89, 200):
        assert warned(database, SET_AT + days * DAY, password_set_at=SET_AT) == [INITIATOR_PASSWORD]


def test_a_stored_password_is_dated_by_itself(database: Database, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO sealed_settings (name, sealed_value, updated_at)"
            " VALUES ('MPESA_INITIATOR_PASSWORD', 'v1.x', %s)",
            (SET_AT,),
        )
    assert warned(database, SET_AT + 74 * DAY) == []
    assert warned(database, SET_AT + 75 * DAY) == [INITIATOR_PASSWORD]


@pytest.mark.parametrize(("days", "kinds"), [(-31, []), (-30, [CERTIFICATE]), (29, [CERTIFICATE]), (30, [])])
def test_a_certificate_is_warned_of_around_its_end(database: Database, days: int, kinds: list[str]) -> None:
    assert warned(database, SET_AT + days * DAY, certificate_ends_at=SET_AT) == kinds


def test_a_pull_is_warned_of_before_m_pesa_lists_its_payments_no_more(database: Database) -> None:
    assert warned(database, SET_AT, pulled_shortcode="174379") == []
    PullProgressStore(database).done("174379", SET_AT, SET_AT + HOUR)
    assert warned(database, SET_AT + 23 * HOUR, pulled_shortcode="174379") == []
    assert warned(database, SET_AT + 24 * HOUR, pulled_shortcode="174379") == [PULL_BEHIND]
    assert warned(database, SET_AT + 24 * HOUR) == []


def test_an_alarm_says_when_and_what_to_do(database: Database) -> None:
    alarms = Alarms(database, AlarmTerms(SET_AT, None, None)).open(SET_AT + 80 * DAY)
    [case] = open_cases(database, SET_AT + 80 * DAY, alarms=alarms)
    assert (case.kind, case.detail) == (Kind.INITIATOR_PASSWORD, "runs out on 1 April 2026 00:00 UTC")
    [case] = open_cases(database, SET_AT + 80 * DAY, alarms=alarms, zone=NAIROBI)
    assert case.detail == "runs out on 1 April 2026 03:00 EAT"
    assert "set-mpesa-credentials" in case.what_can_be_done


def test_a_gap_of_pull_names_its_ends_in_the_time_of_who_reads(database: Database) -> None:
    PullProgressStore(database).done("174379", SET_AT, SET_AT, gap=(SET_AT - DAY, SET_AT - DAY / 2))
    later = SET_AT + 80 * DAY
    told = [open_cases(database, later, zone=zone)[0].detail for zone in (UTC, NAIROBI)]
    assert told == [
        "from 31 December 2025 00:00 to 31 December 2025 12:00 UTC",
        "from 31 December 2025 03:00 to 31 December 2025 15:00 EAT",
    ]
