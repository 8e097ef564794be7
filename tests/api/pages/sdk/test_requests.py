"""What daftari.js sends, how often and when, to a server that the test speaks for."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from api.pages import sdk
from tests.support.static_server import static_server

pytestmark = pytest.mark.system

LOAD = """async () => {
    Object.assign(globalThis, await import("/daftari.js"));
    globalThis.sent = [];
    globalThis.answers = [];
    globalThis.json = (status, body, headers) => new Response(JSON.stringify(body), { status, headers });
    globalThis.refusal = (status, code, headers) => json(status, { message: code, error_code: code }, headers);
    globalThis.state = (session_status, version) => json(200, { session_status, version });
    globalThis.stream = (...parts) => new Response(new ReadableStream({
        start(control) {
            const { current } = globalThis;
            current.addEventListener("abort", () => control.error(current.reason));
            for (const part of parts) control.enqueue(typeof part === "string" ? new TextEncoder().encode(part) : part);
        },
    }));
    globalThis.fetch = async (url, { method, headers, body, signal }) => {
        sent.push({ path: url.slice(19), method, headers, body, at: Date.now() });
        globalThis.current = signal;
        const answer = answers.shift() ?? (() => new Promise(() => {}));
        const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        return Promise.race([answer(), aborted]);
    };
    globalThis.told = (promise) => {
        globalThis.result = undefined;
        promise.then((value) => { result = { value }; }, ({ name, code, status, message, fields, retryAfter }) => {
            result = { error: { name, code, status, message, fields, retryAfter } };
        });
    };
    globalThis.daftari = new Daftari({ url: "https://pay.example/", token: "a-token" });
}"""

SETTLE = """async () => {
    for (let round = 0; round < 9; round += 1)
        await new Promise((done) => {
            const { port1, port2 } = new MessageChannel();
            port1.onmessage = done;
            port2.postMessage(0);
        });
}"""
"""Lets all that waits for no time go on, in real tasks of the browser."""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page with the module, whose time the test moves, and whose requests are answered by `answers`."""
    with static_server(Path(sdk.__file__).parent) as origin:
        context = browser.new_context()
        shown = context.new_page()
        shown.route("**/blank", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        shown.clock.install(time=0)
        shown.goto(f"{origin}/blank")
        shown.clock.pause_at(1_000)
        shown.evaluate(LOAD)
        yield shown
        context.close()


def tell(page: Page, call: str, *answers: str) -> None:
    """Call the module with these answers to come, each a function."""
    page.evaluate(f"() => {{ answers.push({', '.join(answers)}); told({call}); }}")


def result(page: Page) -> Any:
    """Return what the call came to, once it has."""
    page.wait_for_function("result")
    return page.evaluate("result")


def sent(page: Page, count: int) -> list[Any]:
    """Wait until so many requests have been sent, and return them."""
    page.wait_for_function("(count) => sent.length >= count", arg=count)
    requests: list[Any] = page.evaluate("sent")
    assert len(requests) == count
    return requests


def pass_time(page: Page, seconds: float, count: int | None = None) -> None:
    """Let time pass once the page has done what it can now; `count` requests have been sent by then."""
    page.evaluate(SETTLE)
    page.clock.run_for(round(1000 * seconds))
    page.evaluate(SETTLE)
    if count is not None:
        sent(page, count)


LOST = "() => Promise.reject(new TypeError())"


def test_a_call_keeps_its_key_until_it_is_answered(page: Page) -> None:
    busy = "() => refusal(503, 'SERVER_BUSY', { 'Retry-After': '2' })"
    under_way = "() => refusal(409, 'IDEMPOTENCY_KEY_IN_USE', { 'Retry-After': '1' })"
    tell(
        page,
        "daftari.pay('7', { phone: '0712345678' })",
        LOST,
        busy,
        under_way,
        "() => json(200, { status: 'success' })",
    )
    for count in (1, 2, 3):
        sent(page, count)
        pass_time(page, 3.1)
    assert result(page) == {"value": {"status": "success"}}
    requests = sent(page, 4)
    assert len({request["headers"]["Idempotency-Key"] for request in requests}) == 1
    assert {request["body"] for request in requests} == {'{"phone_number":"0712345678"}'}
    assert {request["path"] for request in requests} == {"/api/payments/sessions/7/initiate_payment/"}
    tell(page, "daftari.pay('7')", "() => json(200, {})")
    tell(page, "daftari.extend('7', { key: 'mine' })", "() => json(200, {})")
    keys = [request["headers"]["Idempotency-Key"] for request in sent(page, 6)]
    assert keys[0] != keys[4]
    assert keys[5] == "mine"


def test_no_request_is_repeated_before_its_retry_after(page: Page) -> None:
    tell(
        page,
        "daftari.extend('7')",
        "() => refusal(503, 'UNAVAILABLE', { 'Retry-After': '8' })",
        "() => json(200, {})",
    )
    sent(page, 1)
    pass_time(page, 7.9, 1)
    pass_time(page, 4.2, 2)


def test_a_call_gives_up_after_some_tries(page: Page) -> None:
    tell(page, "daftari.extend('7')", *([LOST] * 9))
    for _ in range(4):
        pass_time(page, 13)
    assert result(page)["error"]["code"] == "NETWORK"
    moments = [request["at"] for request in sent(page, 5)]
    waits = [(after - before) / 1000 for before, after in pairwise(moments)]
    assert all(least <= wait <= 1.6 * least for wait, least in zip(waits, (1, 2, 4, 8), strict=True))


@pytest.mark.parametrize(
    ("status", "code", "wait"),
    [
        (400, "SESSION_EXPIRED", None),
        (401, "TOKEN_INVALID", None),
        (409, "PHONE_BUSY", 90),
        (409, "PAYMENT_IN_PROGRESS", 3),
        (429, "PROMPTS_LIMITED", 3),
        (502, "PAYMENT_REFUSED", None),
        (503, "PAYMENTS_PAUSED", 60),
    ],
)
def test_what_another_try_would_not_help_is_thrown_at_once(
    page: Page, status: int, code: str, wait: int | None
) -> None:
    headers = "{}" if wait is None else f"{{ 'Retry-After': '{wait}' }}"
    tell(page, "daftari.pay('7')", f"() => refusal({status}, '{code}', {headers})")
    told = result(page)["error"]
    expected = {"name": "DaftariError", "code": code, "status": status, "message": code, "fields": {}}
    assert told == {**expected, "retryAfter": wait}


def test_an_error_names_the_wrong_fields(page: Page) -> None:
    body = (
        "{ message: 'm', error_code: 'INVALID_INPUT', errors: { 'delivery_details.county_id': ['None.'] } }"
    )
    tell(page, "daftari.create({})", f"() => json(400, {body})")
    assert result(page)["error"]["fields"] == {"delivery_details.county_id": ["None."]}


def test_an_answer_that_is_not_of_daftari_is_named_by_its_status(page: Page) -> None:
    tell(page, "daftari.session('7')", "() => new Response('<h1>Forbidden</h1>', { status: 403 })")
    assert result(page)["error"]["code"] == "HTTP_403"


def test_a_refused_token_is_replaced_once(page: Page) -> None:
    page.evaluate(
        """() => {
            globalThis.asked = [];
            const token = (old) => `token-${asked.push(old)}`;
            globalThis.daftari = new Daftari({ url: "https://pay.example", token });
        }"""
    )
    refused = "() => refusal(401, 'TOKEN_INVALID')"
    tell(page, "daftari.session('7')", refused, "() => json(200, { user: 1 })")
    assert result(page) == {"value": {"user": 1}}
    assert [request["headers"]["Authorization"] for request in sent(page, 2)] == [
        "Bearer token-1",
        "Bearer token-2",
    ]
    assert page.evaluate("asked") == ["", "token-1"]
    tell(page, "daftari.session('7')", refused, refused)
    assert result(page)["error"]["status"] == 401
    sent(page, 4)


def test_a_signal_ends_a_call_and_a_watch(page: Page) -> None:
    for call in ("daftari.create({}, { signal })", "daftari.watch('7', { signal })"):
        page.evaluate(
            f"() => {{ globalThis.control = new AbortController(); const {{ signal }} = control; told({call}); }}"
        )
        page.wait_for_function("sent.length")
        page.evaluate("control.abort()")
        assert result(page)["error"]["name"] == "AbortError"
    tell(page, "daftari.session('7', { signal: control.signal })")
    assert result(page)["error"]["name"] == "AbortError"
    sent(page, 2)


def test_a_stream_is_read_however_it_is_cut_into_pieces(page: Page) -> None:
    page.evaluate(
        """() => {
            const text = [
                "retry: 2000",
                'id: 1\\ndata: {"version":1,"session_status":"pending","paused":"Pole Šamba"}',
                ":",
                'id: 2\\ndata: {"version":2,"session_status":"order_created"}',
            ];
            const bytes = new TextEncoder().encode(text.map((frame) => `${frame}\\n\\n`).join(""));
            globalThis.pieces = [];
            for (let at = 0; at < bytes.length; at += 3) pieces.push(bytes.slice(at, at + 3));
            globalThis.shown = [];
        }"""
    )
    tell(
        page,
        "daftari.watch('7', { onChange: (status) => { shown.push(status); } })",
        "() => stream(...pieces)",
    )
    assert result(page)["value"]["session_status"] == "order_created"
    assert [each["version"] for each in page.evaluate("shown")] == [1, 2]
    assert page.evaluate("shown[0].paused") == "Pole Šamba"


def test_a_stream_that_a_proxy_holds_back_is_given_up(page: Page) -> None:
    tell(
        page,
        "daftari.watch('7')",
        "() => stream()",
        "() => state('pending', 1)",
        "() => state('failed', 2)",
    )
    sent(page, 1)
    pass_time(page, 9.9, 1)
    pass_time(page, 0.2)
    pass_time(page, 1.6, 2)
    pass_time(page, 1.6, 3)
    assert result(page)["value"]["session_status"] == "failed"
    assert sent(page, 3)[2]["path"] == "/api/payments/sessions/7/status/?wait=25&after=1"


def test_a_stream_whose_heart_stops_is_resumed(page: Page) -> None:
    first = '\'id: 4\\ndata: {"version":4,"session_status":"paid"}\\n\\n\''
    tell(page, "daftari.watch('7')", f"() => stream({first})", "() => new Promise(() => {})")
    sent(page, 1)
    pass_time(page, 34, 1)
    pass_time(page, 1.1)
    pass_time(page, 1.6, 2)
    again = sent(page, 2)[1]
    assert again["path"].endswith("/stream/")
    assert again["headers"]["Last-Event-ID"] == "4"


def test_a_better_way_is_tried_again_after_a_minute(page: Page) -> None:
    refused = "() => refusal(429, 'TOO_MANY_WAITING', { 'Retry-After': '5' })"
    tell(page, "daftari.watch('7')", refused, *(["() => state('pending', 1)"] * 30))
    sent(page, 1)
    for _ in range(20):
        pass_time(page, 4.6)
    paths = [request["path"].rpartition("/7/")[2] for request in page.evaluate("sent")]
    assert paths[:3] == ["stream/", "status/", "status/"]
    assert "stream/" in paths[3:]
    moments = [request["at"] for request in page.evaluate("sent")]
    assert moments[paths.index("stream/", 1)] - moments[0] > 60_000


def test_a_limit_on_polls_is_kept(page: Page) -> None:
    page.evaluate("() => { globalThis.found = []; }")
    refused = "() => refusal(404, 'NOT_FOUND')"
    limited = "() => refusal(429, 'RATE_LIMITED', { 'Retry-After': '40' })"
    tell(
        page,
        "daftari.watch('7', { onProblem: ({ code }) => { found.push(code); } })",
        refused,
        refused,
        limited,
        "() => state('expired', 1)",
    )
    for _ in range(3):
        pass_time(page, 0.1)
    sent(page, 3)
    pass_time(page, 39, 3)
    page.evaluate("dispatchEvent(new Event('online'))")
    sent(page, 3)
    pass_time(page, 22)
    sent(page, 4)
    assert result(page)["value"]["session_status"] == "expired"
    assert page.evaluate("found") == ["NOT_FOUND", "NOT_FOUND", "RATE_LIMITED"]


def test_a_session_of_somebody_else_cannot_be_watched(page: Page) -> None:
    tell(page, "daftari.watch('7')", *["() => refusal(404, 'SESSION_NOT_FOUND')"] * 3)
    for _ in range(3):
        pass_time(page, 0.1)
    assert result(page)["error"]["code"] == "SESSION_NOT_FOUND"


def test_what_a_page_throws_ends_its_watch(page: Page) -> None:
    first = '\'id: 1\\ndata: {"version":1,"session_status":"pending"}\\n\\n\''
    tell(
        page, "daftari.watch('7', { onChange() { throw new RangeError('mine'); } })", f"() => stream({first})"
    )
    assert result(page)["error"]["name"] == "RangeError"
