"""What makes each alert fire and what clears it, minute by minute, by promtool; a real Prometheus is beside this.

The notation of series is promtool's: `0x4 1x9 0x30` is five minutes of 0, ten of 1, then 0; `0+2x9` grows by 2 each.
"""

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.monitoring.test_rules_and_boards import FOLDER, RULES, of_boards
from tests.support.prometheus import prometheus_programs

pytestmark = pytest.mark.system

UP = 'up{job="daftari",instance="a"}'
QUIET = {UP: "1x3000", 'up{job="other",instance="a"}': "0x3000"}
WAITING, COMMAND = "daftari_oldest_waiting_seconds", "daftari_command_seconds_bucket"
EVENTS, REQUESTS = "daftari_events_appended_total", "daftari_http_request_seconds_count"
CALLS, MESSAGES = "daftari_mpesa_call_seconds_count", "daftari_messages_received_total"


@dataclass(frozen=True)
class Course:
    """Series of an alert by the minute, and when it is still quiet, fires, and is cleared."""

    alert: str
    quiet: int
    fires: int
    cleared: int
    series: dict[str, str] = field(default_factory=dict)

    def test(self) -> dict[str, Any]:
        """Return the course as a test of promtool: at each moment this alert fires or nothing does."""
        name = f'{{alertname="{self.alert}"}}'
        return {
            "interval": "1m",
            "input_series": [
                {"series": name, "values": text} for name, text in (QUIET | self.series).items()
            ],
            "promql_expr_test": [
                {
                    "expr": 'sum by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{minute}m",
                    "exp_samples": [{"labels": name, "value": 1}] if is_firing else [],
                }
                for minute, is_firing in ((self.quiet, False), (self.fires, True), (self.cleared, False))
            ],
        }


def gauge(alert: str, series: str, good: int, bad: int, *, waits: int = 1, **more: str) -> Course:
    """Return the course of a figure that is bad from minute 5 on until some minutes after the alert."""
    long = waits + 9
    return Course(alert, 4 + waits, 6 + waits, 7 + long, {series: f"{good}x4 {bad}x{long} {good}x30"} | more)


def at_once(alert: str, series: str) -> Course:
    """Return the course of a count that must be 0, and is not from minute 5 to minute 14."""
    return Course(alert, 4, 6, 16, {series: "0x4 1x9 0x30"})


COURSES = (
    gauge("DaftariDown", UP, 1, 0),
    Course("DaftariDown", 0, 11, 30, {UP: "1x4 _x9 1x30"}),
    gauge("DaftariDatabaseDown", 'daftari_database_answers{instance="a"}', 1, 0),
    Course(
        "DaftariErrors",
        10,
        25,
        45,
        {f'{REQUESTS}{{status="200"}}': "0+100x60", f'{REQUESTS}{{status="503"}}': "0x10 0+10x20 200x40"},
    ),
    Course(
        "DaftariSlow",
        8,
        20,
        50,
        {
            f'{COMMAND}{{command="callback",le="1"}}': "0+90x29 2710+100x60",
            f'{COMMAND}{{command="callback",le="2.5"}}': "0+100x90",
            f'{COMMAND}{{command="callback",le="+Inf"}}': "0+100x90",
            f'{COMMAND}{{command="initiate",le="1"}}': "0x90",
            f'{COMMAND}{{command="initiate",le="30"}}': "0+100x90",
            f'{COMMAND}{{command="initiate",le="+Inf"}}': "0+100x90",
        },
    ),
    gauge("DaftariFollowerBehind", 'daftari_follower_seconds_behind{kind="orders"}', 0, 120),
    gauge("DaftariHorizonHeld", 'daftari_horizon_seconds{kind="transaction"}', 0, 120),
    Course(
        "DaftariJobFails", 11, 22, 50, {'daftari_job_failures_total{process="letters"}': "0x10 0+2x19 38x60"}
    ),
    gauge("DaftariUnsigned", "daftari_unsigned_seconds", 0, 400),
    at_once("DaftariInvariantViolated", 'daftari_invariant_violations{kind="rows"}'),
    Course(
        "DaftariNotVerified",
        60,
        70,
        110,
        {
            'daftari_verified_seconds{kind="whole"}': "0x4 200000x90 60x60",
            'daftari_verified_seconds{kind="incremental"}': "5x200",
        },
    ),
    gauge(
        "DaftariRunsOut",
        'daftari_seconds_left{kind="initiator_password"}',
        9_999_999,
        500_000,
        waits=5,
        **{'daftari_seconds_left{kind="pull_behind"}': "100000x100"},
    ),
    gauge("DaftariRunsOut", 'daftari_seconds_left{kind="pull_behind"}', 100_000, 40_000, waits=5),
    Course(
        "DaftariMpesaUnanswered",
        11,
        25,
        45,
        {
            f'{CALLS}{{operation="push",code="0"}}': "0+10x90",
            f'{CALLS}{{operation="push",code="1032"}}': "0+90x90",
            f'{CALLS}{{operation="push",code="500.003.02"}}': "0x10 0+50x20 1000x60",
        },
    ),
    gauge("DaftariMpesaRefusesUs", 'daftari_open_cases{kind="mpesa_set_up"}', 0, 1),
    Course(
        "DaftariNobodyPays",
        45,
        60,
        85,
        {
            f'{EVENTS}{{event="PaymentInitiated"}}': "0+1x120",
            f'{EVENTS}{{event="Paid"}}': "0+1x20 20x50 20+1x60",
        },
    ),
    gauge("DaftariPaymentInDoubt", f'{WAITING}{{kind="payment_in_doubt"}}', 60, 1_000),
    gauge("DaftariOrderMissing", f'{WAITING}{{kind="paid_without_order"}}', 60, 200),
    gauge("DaftariMessageWaits", f'{WAITING}{{kind="inbound_message"}}', 60, 1_300),
    gauge("DaftariRefundInDoubt", f'{WAITING}{{kind="refund_in_doubt"}}', 60, 90_000),
    gauge("DaftariMoneyDueBack", 'daftari_money_held_cents{kind="refund_due"}', 0, 500, waits=24 * 60),
    gauge("DaftariMoneyUnexplained", 'daftari_open_cases{kind="money_unknown"}', 0, 1, waits=15),
    gauge(
        "DaftariDeadLetters",
        'daftari_dead_letters{kind="events"}',
        0,
        1,
        waits=5,
        **{'daftari_dead_letters{kind="unauthenticated_messages"}': "500x100"},
    ),
    gauge("DaftariWebhookFails", 'daftari_open_cases{kind="webhook_disabled"}', 0, 1, waits=5),
    gauge("DaftariWebhookFails", f'{WAITING}{{kind="webhook_delivery"}}', 60, 4_000, waits=5),
    Course(
        "DaftariUnauthenticatedMessages",
        18,
        30,
        60,
        {
            f'{MESSAGES}{{channel="stk",authenticated="no"}}': "0x10 0+120x29 3480x60",
            f'{MESSAGES}{{channel="stk",authenticated="yes"}}': "0+600x100",
        },
    ),
    gauge("DaftariSwitchedOff", 'daftari_switched_off{kind="prompts"}', 0, 1, waits=15),
)


def test_each_alert_waits_fires_and_clears(tmp_path: Path) -> None:
    assert {course.alert for course in COURSES} == set(re.findall(r"- alert: (\w+)", RULES))
    tests = {"rule_files": [str(FOLDER / "alerts.yml")], "tests": [course.test() for course in COURSES]}
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps(tests), "utf-8")  # JSON is YAML
    done = subprocess.run(
        [prometheus_programs()[1], "test", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_query_of_a_board_is_one_that_prometheus_can_read(tmp_path: Path) -> None:
    rules = [{"record": f"board:{number}", "expr": query} for number, (_, query) in enumerate(of_boards())]
    file = tmp_path / "boards.yml"
    file.write_text(json.dumps({"groups": [{"name": "boards", "rules": rules}]}), "utf-8")
    command = [prometheus_programs()[1], "check", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_the_example_for_prometheus_is_one() -> None:
    command = [prometheus_programs()[1], "check", "config", "--syntax-only", str(FOLDER / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
