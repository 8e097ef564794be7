"""Who may do what: every operation of the OpenAPI document by every kind of caller. A new one without a rule fails.

Generated from the document, so that nobody has to remember a line here.
"""

from itertools import chain, combinations

import jwt
import pytest

from api.issued_tokens import TOKEN_ROLES, Role, make_token
from api.pages.console.staff import COOKIE
from ledger import clock
from payments.api_keys.api_key import ROLES
from tests.security.operations import CUSTOMER, Operation, call, operations
from tests.security.world import OPERATOR, OTHER, OWNER, World

ROLE_SETS = [
    [role.value for role in roles]
    for roles in chain.from_iterable(
        combinations(TOKEN_ROLES, count) for count in range(len(TOKEN_ROLES) + 1)
    )
]
FORBIDDEN = (401, 403)


def token(world: World, user: int, roles: list[str]) -> str:
    return make_token(world.instance.settings, user, roles, 60)


def crafted(secret: str, exp: float) -> str:
    every = [role.value for role in Role]
    return jwt.encode({"sub": str(OWNER), "roles": every, "exp": exp, "iat": exp - 60}, secret)


@pytest.fixture(scope="module")
def invalid(world: World) -> dict[str, str | None]:
    """Tokens that are worth nothing, whatever roles they claim."""
    secret, now = world.instance.settings.daftari_jwt_secret, clock.now().timestamp()
    revoked = token(world, 12, [role.value for role in Role])
    world.instance.services.revocations.revoke_all(12, by="system", reason="")
    return {
        "anonymous": None,
        "expired": crafted(secret, now - 3600),
        "wrong signature": crafted("7ae1f0c93b52d4886ac01f9e35b7d264", now + 3600),
        "revoked": revoked,
        "not a token": "x.y.z",
    }


def test_every_operation_is_public_on_purpose_or_names_its_roles(world: World) -> None:
    undecided = [str(each) for each in operations(world) if not each.is_public and not each.roles]
    assert undecided == []
    public = {each.path for each in operations(world) if each.is_public}
    assert {path for path in public if path.startswith("/api/")} == {
        path
        for path in world.document["paths"]
        if path.startswith(
            (
                "/api/payments/callbacks/",
                "/api/payments/transactions/mpesa_callback/",
                "/api/payments/c2b/",
                "/api/payments/results/",
                "/api/payments/timeouts/",
                "/api/catalogue/",
                "/api/places/",
            )
        )
    }


def test_without_a_valid_token_everything_that_is_not_public_is_401(
    world: World, invalid: dict[str, str | None]
) -> None:
    for operation in operations(world):
        for name, given in invalid.items():
            answer = call(world, operation, given)
            shown = f"{operation} {name}: {answer.status_code} {answer.text[:200]}"
            if operation.is_public:
                assert answer.status_code not in FORBIDDEN, shown
                continue
            assert answer.status_code == 401, shown
            assert answer.headers["WWW-Authenticate"].startswith("Bearer"), shown
            assert "401" in operation.described["responses"], shown


def test_a_caller_needs_one_of_the_roles_and_any_other_set_of_roles_is_403(world: World) -> None:
    for operation in operations(world):
        if operation.is_public:
            continue
        for roles in ROLE_SETS:
            answer = call(world, operation, token(world, OWNER, roles))
            shown = f"{operation} {roles}: {answer.status_code} {answer.text[:200]}"
            if set(roles) & set(operation.roles):
                assert answer.status_code not in FORBIDDEN, shown
            else:
                assert answer.status_code == 403, shown
                assert answer.json()["error_code"] == "ROLE_REQUIRED", shown
            assert str(answer.status_code) in operation.described["responses"], shown


def test_an_api_key_may_what_its_role_may_and_nothing_that_an_operator_decides(world: World) -> None:
    for role in ROLES:
        key = world.instance.server(f"matrix-{role}", role).headers["Authorization"]
        for operation in operations(world):
            if operation.is_public:
                continue
            answer = call(world, operation, str(key).removeprefix("Bearer "))
            shown = f"{operation} {role}: {answer.status_code} {answer.text[:200]}"
            if role in operation.roles:
                assert answer.status_code not in FORBIDDEN, shown
            else:
                assert answer.status_code == 403, shown
            if operation.is_of_a_buyer and role == "server" and role in operation.roles:
                assert answer.status_code == 404, shown
            assert operation.roles != ["operator"] or answer.status_code == 403, shown


def test_what_belongs_to_a_buyer_is_404_for_every_other_buyer_and_for_the_staff(world: World) -> None:
    seen: list[Operation] = []
    for operation in operations(world):
        if not operation.is_of_a_buyer:
            continue
        seen.append(operation)
        for user, roles in (
            (OTHER, CUSTOMER),
            (OTHER, [*CUSTOMER, "operator", "auditor", "analyst"]),
            (OPERATOR, [*CUSTOMER, "operator"]),
        ):
            answer = call(world, operation, token(world, user, roles))
            assert answer.status_code == 404, f"{operation} {user} {roles}: {answer.text[:200]}"
        answer = call(world, operation, token(world, OWNER, CUSTOMER))
        assert answer.status_code != 404, f"{operation}: {answer.text[:200]}"
    assert len(seen) >= 7


def test_lists_of_a_buyer_hold_nothing_of_another(world: World) -> None:
    for path in ("/api/payments/sessions/", "/api/cart/"):
        shown = world.instance.client(OTHER).get(path).text
        assert world.known["session_id"] not in shown
    assert world.instance.client(OTHER).get("/api/payments/sessions/").json()["count"] == 0


REPORTING = (
    "POST /api/payments/sessions/",
    "GET /api/payments/sessions/",
    "POST /api/payments/sessions/{session_id}/initiate_payment/",
    "GET /api/payments/sessions/{session_id}/status/",
    "POST /api/payments/sessions/{session_id}/extend_session/",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
)
"""The contract's five, and what monitoring calls. M-Pesa's endpoints, which are public posts, report too."""


def test_names_that_nobody_reads_are_refused_everywhere_but_in_the_contract(world: World) -> None:
    for operation in operations(world):
        given = world.token(OWNER, operation.roles) if operation.roles else None
        answer = call(world, operation, given, params={"surprise": "1"})
        shown = f"{operation}: {answer.status_code} {answer.text[:200]}"
        if str(operation) in REPORTING or (operation.is_public and operation.method == "post"):
            assert '"unknown name ignored: surprise"' in answer.headers["Daftari-Warnings"], shown
        else:
            assert answer.status_code == 400, shown
            assert "surprise" in answer.json()["errors"], shown


def test_names_in_a_body_that_nobody_reads_are_refused_everywhere_but_in_the_contract(world: World) -> None:
    for operation in operations(world):
        if operation.is_public or operation.method == "get":
            continue
        answer = call(world, operation, world.token(OWNER, operation.roles), json={"surprise": 1})
        shown = f"{operation}: {answer.status_code} {answer.text[:200]}"
        if str(operation) in REPORTING:
            assert '"unknown name ignored: surprise"' in answer.headers["Daftari-Warnings"], shown
        else:
            assert answer.status_code == 400, shown
            assert "surprise" in answer.json()["errors"], shown


@pytest.mark.parametrize(
    "path", ["/console/work/", "/console/work/act/", "/console/sign-out/", "/console/sign-in/"]
)
def test_the_work_page_shows_nothing_and_does_nothing_for_who_is_not_signed_in(
    world: World, invalid: dict[str, str | None], path: str
) -> None:
    client = world.instance.anonymous()
    customer = token(world, OWNER, CUSTOMER)
    for given in (*invalid.values(), customer):
        client.cookies.clear()
        if given:
            client.cookies.set(COOKIE, given, path="/console/")
        if path == "/console/work/":
            shown = client.get(path)
            assert "Sign in with your bearer token" in shown.text
            assert world.known["refund_session_id"] not in shown.text
        else:
            answer = client.post(path, data={"kind": "refund_due"}, allow_redirects=False)
            assert answer.status_code in (303, 403)
            assert COOKIE not in answer.headers.get("Set-Cookie", "")


def test_the_shop_page_shows_each_buyer_their_own_and_nobody_else_by_another_name(world: World) -> None:
    client = world.instance.anonymous()
    path = f"/shop/sessions/{world.known['session_id']}/"
    assert client.get(path).status_code == 200
    assert client.get(path, headers={"Host": "pay.example.co.ke"}).status_code == 404
    assert client.get(path, headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 404
    client.get(f"/shop/?user={OTHER}")
    assert client.get(path).status_code == 404
