"""Whoever reads what is not about them leaves an entry. A new read without one, or without a reason not to, fails."""

from api.http.middleware.access_log import REASON
from api.issued_tokens import make_token
from tests.api.pages.test_work import signed_in
from tests.security.operations import Operation, call, operations
from tests.security.world import AUDITOR, OPERATOR, World

IMPERSONAL = {
    "GET /metrics": "counts by route",
    "GET /api/payments/metrics/": "rates and sums over all sessions",
    "GET /api/payments/metrics/restatements/": "sessions by id, and the counts that they changed",
    "GET /api/audit/invariants/": "sessions by id, and what is wrong with them",
    "GET /api/audit/blocks/": "hashes",
    "GET /api/audit/proofs/inclusion/": "hashes",
    "GET /api/audit/proofs/consistency/": "hashes",
    "GET /api/audit/books/trial-balance/": "sums by account",
    "GET /api/audit/books/close/": "sums by account",
    "GET /api/audit/log/": "numbers of people, and what they decided",
    "GET /api/audit/retention/": "kinds of data and how many rows there are",
    "GET /api/payments/reconciliations/": "counts and sums",
    "GET /api/switches/": "which kinds of payments are stopped, since when and why",
    "GET /api/webhook-endpoints/": "addresses of the shop's servers",
    "GET /api/webhook-endpoints/{endpoint_id}/": "the address of a shop's server",
    "GET /api/webhook-endpoints/{endpoint_id}/deliveries/": "what was sent of which session, and the answers",
}
"""What operators, auditors and analysts read without an entry, and what it holds."""

NEEDS_A_ROW = "GET /api/payments/reconciliations/{reconciliation_id}/"


def reads(world: World) -> list[Operation]:
    return [
        each
        for each in operations(world)
        if each.method == "get" and each.is_of_staff and str(each) not in IMPERSONAL
    ]


def entries(world: World) -> int:
    count, _ = world.instance.services.audit_log.entries(kind="access")
    return count


def test_each_read_by_the_staff_leaves_an_entry(world: World) -> None:
    for operation in reads(world):
        for role in operation.roles:
            before = entries(world)
            given = make_token(world.instance.settings, AUDITOR, [role], 5)
            answer = call(world, operation, given, headers={REASON: "A buyer asked."})
            if str(operation) == NEEDS_A_ROW:
                assert any(each.get("name") == REASON for each in operation.described["parameters"])
                continue
            assert answer.status_code == 200, f"{operation}: {answer.text[:200]}"
            assert entries(world) == before + 1, str(operation)
            _, [entry, *_] = world.instance.services.audit_log.entries(kind="access")
            assert (entry.actor, entry.reason) == (f"user:{AUDITOR}", "A buyer asked."), str(operation)


def test_what_was_refused_or_not_found_leaves_none(world: World) -> None:
    before = entries(world)
    auditor = world.instance.client(AUDITOR, "auditor")
    missing = "/api/audit/sessions/550e8400-e29b-41d4-a716-446655440000/events/"
    assert auditor.get(missing).status_code == 404
    assert world.instance.client(OPERATOR, "analyst").get("/api/work-list/").status_code == 403
    assert entries(world) == before


def test_a_reason_holds_no_phone_number_and_then_nothing_is_shown(world: World) -> None:
    auditor = world.instance.client(AUDITOR, "auditor")
    for reason in ("0712345678 called", "", "caf\u00e9".encode("latin-1")):
        answer = auditor.get("/api/work-list/", headers={REASON: reason})
        assert answer.status_code == 400, reason
        assert "results" not in answer.text


def test_the_work_page_leaves_an_entry(world: World) -> None:
    browser, _ = signed_in(world.instance, token=world.instance.token(OPERATOR, "operator"))
    before = entries(world)
    assert "Refund due" in browser.get(f"{world.instance.base_url}/console/work/", timeout=10).text
    assert entries(world) == before + 1


def test_a_buyers_own_reads_leave_none(world: World) -> None:
    before = entries(world)
    client = world.instance.client(1)
    assert client.get(f"/api/payments/sessions/{world.known['session_id']}/").status_code == 200
    assert entries(world) == before
