"""Auditors see how long each kind of data is kept, by the API as by the command."""

import json

from payments.erasure.retention_kinds import KINDS
from tests.api.cli.support import daftari
from tests.scenarios.test_customer_export import environment
from tests.support.instance import Instance


def test_auditors_see_each_kind_and_the_command_prints_the_same(instance: Instance) -> None:
    answer = instance.client(10, "auditor").get("/api/audit/retention/")
    assert answer.status_code == 200, answer.text
    shown = {each["kind"]: each for each in answer.json()["kinds"]}
    assert list(shown) == [kind.name for kind in KINDS]
    assert (shown["kept_answers"]["period_seconds"], shown["customers"]["period_seconds"]) == (86_400, None)
    assert shown["access_log"]["minimum_seconds"] == 1_827 * 86_400
    assert instance.client(9, "operator").get("/api/audit/retention/").status_code == 403

    told = daftari("retention", "--json", **environment(instance))
    assert told.returncode == 0, told.stderr
    assert [each["kind"] for each in json.loads(told.stdout)] == list(shown)


def test_a_period_below_its_minimum_is_a_configuration_error(instance: Instance) -> None:
    told = daftari("retention", DAFTARI_RETENTION_PERIODS="access_log=7", **environment(instance))
    assert (told.returncode, "must keep access_log for 1827 to 36500 days" in told.stderr) == (3, True)
