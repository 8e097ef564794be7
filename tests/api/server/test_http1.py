"""Requests as bytes: whole ones are read however they are cut up, and what is no request is refused."""

import pytest

from api.http.framework.json import MAX_BODY_BYTES
from api.http.middleware.raw_bodies import MAX_BYTES_READ
from api.server.http1 import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_PIPELINED,
    MAX_TARGET_BYTES,
    RefusedRequest,
    RequestReader,
)
from api.server.lanes import Lane
from payments.inbox.inbox import MAX_BYTES_KEPT

POST = b"POST /api/cart/ HTTP/1.1\r\nHost: shop\r\n"
CALLBACK = b"POST /api/payments/callbacks/ HTTP/1.1\r\nHost: shop\r\n"
GET = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
TIMEOUT = RefusedRequest("REQUEST_TIMEOUT")


def reading(*parts: bytes) -> RequestReader:
    reader = RequestReader()
    for part in parts:
        reader.feed(part)
    return reader


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (GET, b""),
        (POST + b"Content-Length: 4\r\n\r\nabcd", b"abcd"),
        (
            POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2;x=y\r\ncd\r\n0\r\nX-Checksum: 9\r\n\r\n",
            b"abcd",
        ),
        (POST.replace(b"1.1", b"1.0") + b"Content-Length: 4\r\n\r\nabcd", b"abcd"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_request_is_read_whole_however_it_is_cut_up(data: bytes, body: bytes, size: int) -> None:
    reader = reading(*(data[start : start + size] for start in range(0, len(data), size)))
    [request] = reader.ready
    assert (bytes(request.body), request.length, request.is_whole) == (body, len(body), True)
    assert "x-checksum" not in dict(request.headers)
    assert reader.refusal is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"BREW / HTTP/1.1\r\nHost: shop\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: shop\r\nHost: shop\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: shop\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: shop\r\nX Y: z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: shop\r\nX: a\x00b\r\n\r\n",
        POST + b"Content-Length: x\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
    ],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    reader = reading(data, GET)
    assert not reader.ready
    assert reader.refusal is not None
    assert reader.refusal.code == "BAD_REQUEST"


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"x" * MAX_TARGET_BYTES + b" HTTP/1.1\r\nHost: shop\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: shop\r\n" + b"X: y\r\n" * MAX_HEADERS + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: shop\r\nX: " + b"y" * MAX_HEAD_BYTES,
        b"GET / HTTP/1.1\r\nHost: shop\r\nX: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n",
        POST + b"X: " + b"y" * MAX_HEAD_BYTES + b"\r\nContent-Length: 1\r\n\r\na",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: " + b"y" * 4 * MAX_HEAD_BYTES,
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + b"X: y\r\n" * MAX_HEAD_BYTES,
        POST + b"Transfer-Encoding: chunked\r\n\r\n2;x=" + b"y" * 4 * MAX_HEAD_BYTES,
    ],
)
@pytest.mark.parametrize("size", [1_000, 20_000, 65_536])
def test_a_head_and_the_trailers_are_bounded_however_they_are_cut_up(data: bytes, size: int) -> None:
    reader = reading(*(data[start : start + size] for start in range(0, len(data), size)))
    assert reader.refusal is not None
    assert reader.refusal.code == "HEAD_TOO_LARGE"


def test_the_body_of_the_request_before_counts_for_no_head() -> None:
    body = b"a" * (MAX_HEAD_BYTES + 1)
    first = POST + b"Content-Length: %d\r\n\r\n" % len(body)
    reader = reading(first, body + GET[:20], GET[20:])
    assert [request.method for request in reader.ready] == ["POST", "GET"]
    assert reader.refusal is None


@pytest.mark.parametrize(
    "framing", [b"Content-Length: %d\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n%x\r\n"]
)
def test_a_body_that_is_too_long_is_left_to_the_application_without_being_read(framing: bytes) -> None:
    reader = reading(POST + framing % (MAX_BODY_BYTES + 1), b"x" * (MAX_BODY_BYTES + 1), GET)
    [request] = reader.ready
    assert request.length > MAX_BODY_BYTES >= len(request.body)
    assert not request.keeps_connection


def test_of_a_callback_the_head_is_kept_and_the_rest_is_counted() -> None:
    megabyte = bytes(1 << 20)
    reader = reading(CALLBACK + b"Content-Length: %d\r\n\r\n" % (5 << 20), *[megabyte] * 5)
    [request] = reader.ready
    assert (len(request.body), request.length, request.lane) == (MAX_BYTES_KEPT, 5 << 20, Lane.CALLBACKS)
    assert request.keeps_connection
    assert reading(CALLBACK + b"Content-Length: %d\r\n\r\n" % (MAX_BYTES_READ + 1)).is_over


def test_requests_behind_one_another_are_read_in_their_order_up_to_a_bound() -> None:
    reader = reading(
        *(b"GET /%d HTTP/1.1\r\nHost: shop\r\n\r\n" % number for number in range(MAX_PIPELINED + 1))
    )
    assert [request.target for request in reader.ready] == [
        b"/%d" % number for number in range(MAX_PIPELINED)
    ]
    assert reader.refusal is not None


def test_an_unfinished_request_is_refused_and_an_unfinished_callback_is_kept() -> None:
    reader = reading(POST + b"Content-Length: 9\r\n\r\nabc")
    reader.end(TIMEOUT)
    assert (list(reader.ready), reader.refusal) == ([], TIMEOUT)
    for framing in (b"Content-Length: 9\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc"):
        reader = reading(CALLBACK + framing)
        reader.end(TIMEOUT)
        [request] = reader.ready
        assert (bytes(request.body), request.length > 3, request.cut) == (b"abc", True, TIMEOUT)
    for spoilt, code in (
        (b"zz\r\n", "BAD_REQUEST"),
        (b"0\r\nX: " + b"y" * 4 * MAX_HEAD_BYTES, "HEAD_TOO_LARGE"),
    ):
        reader = reading(CALLBACK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", spoilt, GET)
        [request] = reader.ready
        assert (bytes(request.body), request.length > 3, request.cut and request.cut.code) == (
            b"abc",
            True,
            code,
        )
    idle = reading(GET)
    idle.ready.clear()
    idle.end(TIMEOUT)
    assert (idle.refusal, idle.is_over) == (None, True)


def test_who_wants_to_change_the_protocol_is_answered_and_then_disconnected() -> None:
    reader = reading(
        b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n"
    )
    [request] = reader.ready
    assert not request.keeps_connection
    assert reader.is_over
