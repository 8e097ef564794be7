"""The alerts and boards of docs/monitoring use only what an instance shows, and each alert has its runbook entry."""

import json
import re
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ledger.session.events import PUBLIC_NAMES
from tests.docs.test_links import ROOT, anchors
from tests.scenarios.steps import TOMATOES, approve, put_in_cart, put_on_shelf
from tests.support.database import new_database
from tests.support.instance import running_instance

FOLDER = ROOT / "docs" / "monitoring"
RULES = (FOLDER / "alerts.yml").read_text("utf-8")
BOARDS = sorted(FOLDER.glob("*.json"))
OF_PROMETHEUS = {"up": {"job", "instance"}}
"""The series that Prometheus makes of each target, with their labels."""

UNSEEN = {"daftari_job_failures_total": {"process"}, "daftari_seconds_left": {"kind"}}
"""The labels of what a new instance without faults has none of."""

UNSEEN_KINDS = {"pull_behind"}

SERIES = re.compile(r"\b(up|daftari_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!=|=)\s*"([^"]*)"')
GROUPED = re.compile(r"by \(([^)]*)\)")


@pytest.fixture(scope="module")
def shown(server_url: str, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What an instance shows once somebody has paid."""
    with (
        new_database(server_url, template_database) as database_url,
        running_instance(database_url, tmp_path_factory.mktemp("data")) as instance,
    ):
        put_on_shelf(instance, TOMATOES, stock="10")
        buyer = instance.client()
        put_in_cart(buyer, TOMATOES, "2")
        instance.pay(buyer)
        approve(instance)
        instance.anonymous().post("/api/payments/callbacks/", json={})
        instance.services.verifier.run()
        return instance.client(9, "operator").get("/metrics").text


@pytest.fixture(scope="module")
def labels_of(shown: str) -> dict[str, set[str]]:
    """The names of all series that may be shown, each with its labels as far as they are known."""
    found = {name: set(labels) for name, labels in OF_PROMETHEUS.items()}
    for family in text_string_to_metric_families(shown):
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        labels = {label for sample in family.samples for label in sample.labels}
        found |= {family.name + end: labels for end in ends}
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Yield every expression with where it is from."""
    yield from re.findall(r"- alert: (\w+)\n(.*?)(?=\n\s+(?:for|labels):)", RULES, re.DOTALL)
    yield from of_boards()


def of_boards() -> Iterator[tuple[str, str]]:
    """Yield every expression of the boards with its panel."""
    for path in BOARDS:
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]


def is_value(name: str, label: str, how: str, wanted: str, shown: str) -> bool:
    """Say whether a label may have a value, as far as the test knows its values."""
    if label == "event":
        return all(
            any(map(re.compile(event).fullmatch, PUBLIC_NAMES.values())) for event in wanted.split("|")
        )
    if label in ("code", "job", "status"):
        return True
    seen = {
        value
        for series in re.findall(rf"^{name}\{{(.*)\}}", shown, re.MULTILINE)
        for known, value in re.findall(r'(\w+)="([^"]*)"', series)
        if known == label
    }
    return set(wanted.split("|") if how == "=~" else [wanted]) <= seen | UNSEEN_KINDS


def problems(where: str, expression: str, labels_of: dict[str, set[str]], shown: str) -> Iterator[str]:
    """Yield what an expression reads that nothing shows."""
    known = {"le"}
    for name, matchers in SERIES.findall(expression):
        if name not in labels_of:
            yield f"{where}: nothing shows {name}"
            continue
        labels = labels_of[name] or UNSEEN.get(name, set())
        known |= labels
        for label, how, wanted in MATCHER.findall(matchers):
            if label not in labels:
                yield f"{where}: {name} has no label {label}"
            elif not is_value(name, label, how, wanted, shown):
                yield f"{where}: {name} has no {label} {wanted}"
    for group in GROUPED.findall(expression):
        yield from (f"{where}: no label {each}" for each in group.split(", ") if each not in known)


def test_all_expressions_read_what_is_shown(labels_of: dict[str, set[str]], shown: str) -> None:
    found = list(expressions())
    assert len(found) > 40
    assert [path.name for path in BOARDS] == ["payments.json", "service.json"]
    wrong = [each for where, text in found for each in problems(where, text, labels_of, shown)]
    assert wrong == []
    assert list(problems("here", 'sum by (colour) (daftari_dead_letters{kind="x"})', labels_of, shown)) == [
        "here: daftari_dead_letters has no kind x",
        "here: no label colour",
    ]
    several = 'daftari_open_cases{kind=~"money_unknown|money_lost"}'
    assert list(problems("here", several, labels_of, shown)) == [
        "here: daftari_open_cases has no kind money_unknown|money_lost"
    ]


def test_each_alert_leads_to_its_entry_of_the_runbook_and_each_entry_is_of_an_alert() -> None:
    page = ROOT / "docs" / "runbook.md"
    alerts = re.findall(r"- alert: (\w+)", RULES)
    links = re.findall(r"runbook: docs/runbook\.md#(\w+)", RULES)
    assert links == [alert.lower() for alert in alerts]
    assert set(links) <= anchors(page)
    entries = re.findall(r"^## (\w+)$", page.read_text("utf-8"), re.MULTILINE)
    assert entries == sorted(alerts, key=entries.index)
    for entry in page.read_text("utf-8").split("\n## ")[1:]:
        assert re.search(r"^Look ", entry, re.MULTILINE), entry
        assert re.search(r"^Type ", entry, re.MULTILINE), entry


def test_no_label_has_a_value_that_names_anybody(shown: str) -> None:
    for family in text_string_to_metric_families(shown):
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label != "route":
                    assert re.fullmatch(r"[A-Za-z0-9_.+ -]{1,40}", value), f"{sample.name} {label}={value}"
                assert not re.search(r"\d{9}|[0-9a-f]{8}-", value), f"{sample.name} {label}={value}"
