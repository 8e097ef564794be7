"""The five endpoints of the checkout contract as plain rows: what Daftari is compared with.

Written as a competent user would who needs no ledger: Flask, psycopg with its pool, one transaction a request, the
order in the callback's transaction. No events, no inbox, no idempotency keys, no worker. Amounts are shillings.
"""

import base64
import os
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import jwt
import requests
from flask import Flask, Response, jsonify, request
from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

DELIVERY_FIELDS = ("full_name", "phone_number", "county_id", "subcounty_id", "detailed_address")
OPTIONAL_FIELDS = ("special_instructions", "delivery_time_slot", "estimated_delivery_date")
NAIROBI = timezone(timedelta(hours=3))
LIFETIME = timedelta(minutes=15)
PAGE_SIZE = 20

CART = """
SELECT cart_item_id, listing_id, product_name, farm_name, quantity, price, quantity * price AS subtotal, unit_of_measure
  FROM cart_items JOIN products USING (listing_id) WHERE user_id = %s ORDER BY cart_item_id
"""
PLACE = "SELECT FROM subcounties WHERE subcounty_id = %s AND county_id = %s"
INSERT_SESSION = """
INSERT INTO payment_sessions (user_id, cart_snapshot, delivery_details, delivery_fee, total_amount, phone_number,
                              created_at, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING session_id
"""
LOCK_SESSION = "SELECT * FROM payment_sessions WHERE session_id = %s FOR UPDATE"
SHORTAGE = """
SELECT FROM jsonb_to_recordset(%s) AS item (listing_id bigint, quantity numeric) JOIN products USING (listing_id)
 WHERE stock < item.quantity LIMIT 1
"""
INSERT_TRANSACTION = """
INSERT INTO payment_transactions (session_id, phone_number, amount) VALUES (%s, %s, %s) RETURNING transaction_id
"""
SET_STATUS = "UPDATE payment_sessions SET session_status = %s WHERE session_id = %s"
SET_CHECKOUT_ID = "UPDATE payment_transactions SET checkout_request_id = %s WHERE transaction_id = %s"
END_TRANSACTION = """
UPDATE payment_transactions SET status = %s, receipt = %s
 WHERE transaction_id = (SELECT max(transaction_id) FROM payment_transactions WHERE session_id = %s)
"""
# In the order of the listings, so that two orders cannot deadlock.
LOCK_STOCK = """
SELECT FROM products WHERE listing_id IN (SELECT (item->>'listing_id')::bigint FROM jsonb_array_elements(%s) AS item)
 ORDER BY listing_id FOR NO KEY UPDATE
"""
TAKE_STOCK = """
UPDATE products SET stock = stock - item.quantity
  FROM jsonb_to_recordset(%s) AS item (listing_id bigint, quantity numeric)
 WHERE products.listing_id = item.listing_id
"""
INSERT_ORDER = """
INSERT INTO orders (order_number, user_id, total_amount, delivery_details)
VALUES ('ORD-' || to_char(now(), 'YYYYMMDD') || '-' || nextval('order_numbers'), %s, %s, %s) RETURNING order_id
"""
INSERT_ITEMS = """
INSERT INTO order_items (order_id, listing_id, quantity, price, subtotal)
SELECT %s, listing_id, quantity, price_at_addition, subtotal FROM jsonb_to_recordset(%s)
    AS item (listing_id bigint, quantity numeric, price_at_addition numeric, subtotal numeric)
"""
CLEAR_CART = "DELETE FROM cart_items WHERE user_id = %s"
FINISH_SESSION = (
    "UPDATE payment_sessions SET session_status = 'order_created', order_id = %s WHERE session_id = %s"
)
STATUS = """
SELECT session_id, session_status, s.created_at, expires_at, order_id, order_number, order_status, payment_status
  FROM payment_sessions s LEFT JOIN orders USING (order_id) WHERE session_id = %s AND s.user_id = %s
"""
EXTEND = """
UPDATE payment_sessions SET expires_at = expires_at + interval '15 minutes'
 WHERE session_id = %s AND user_id = %s AND session_status IN ('pending', 'payment_initiated') AND expires_at > now()
RETURNING expires_at
"""
COUNT = "SELECT count(*) FROM payment_sessions WHERE user_id = %s"
LIST = """
SELECT session_id, session_status, s.total_amount, s.created_at, order_id, order_number
  FROM payment_sessions s LEFT JOIN orders USING (order_id)
 WHERE s.user_id = %s ORDER BY s.created_at DESC LIMIT %s OFFSET %s
"""
BARE = "SELECT session_id, session_status, created_at, expires_at FROM payment_sessions WHERE session_id = %s"

app = Flask(__name__)
app.json.sort_keys = False  # type: ignore[attr-defined]  # DefaultJSONProvider has it
pool: ConnectionPool[Connection[DictRow]] = ConnectionPool(
    os.environ.get("PLAIN_DATABASE_URL", ""),
    kwargs={"row_factory": dict_row, "autocommit": True},
    min_size=1,
    max_size=24,
    open=False,
)
daraja = requests.Session()


class Refused(Exception):
    """A request that is answered with a status and an error code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


@app.errorhandler(Refused)
def refuse(error: Refused) -> tuple[Response, int]:
    """Answer with the error."""
    return jsonify(status="error", message=error.code, error_code=error.code), error.status


@app.before_request
def open_pool() -> None:
    """Open the pool, once in each process."""
    pool.open()


def user() -> int:
    """Return the caller's id; raise Refused without a valid token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        claims = jwt.decode(token if scheme == "Bearer" else "", os.environ["PLAIN_JWT_SECRET"], ["HS256"])
    except jwt.InvalidTokenError:
        raise Refused(401, "UNAUTHENTICATED") from None
    return int(claims["sub"])


@app.post("/api/payments/sessions/")
def create_session() -> tuple[Response, int]:
    """Price a snapshot of the cart."""
    user_id, wanted = user(), request.get_json()
    given = wanted.get("delivery_details", {})
    if any(not given.get(name) for name in DELIVERY_FIELDS):
        raise Refused(400, "INVALID_INPUT")
    msisdn(given["phone_number"])
    delivery = {name: given[name] for name in DELIVERY_FIELDS} | {
        name: wanted.get(name) for name in OPTIONAL_FIELDS
    }
    now = datetime.now(UTC)
    with pool.connection() as connection:
        if connection.execute(PLACE, (delivery["subcounty_id"], delivery["county_id"])).fetchone() is None:
            raise Refused(400, "INVALID_INPUT")
        lines = connection.execute(CART, (user_id,)).fetchall()
        if not lines:
            raise Refused(400, "CART_EMPTY")
        items = [show_line(line) for line in lines]
        cost = sum(line["subtotal"] for line in lines)
        fee = Decimal(0 if cost >= 1_000 else 50)
        cart = {
            "items": items,
            "total_items": len(items),
            "total_cost": float(cost),
            "created_at": moment(now),
        }
        values = (
            user_id,
            Jsonb(cart),
            Jsonb(delivery),
            fee,
            cost + fee,
            delivery["phone_number"],
            now,
            now + LIFETIME,
        )
        [row] = connection.execute(INSERT_SESSION, values).fetchall()
    return jsonify(
        session_id=row["session_id"],
        user=user_id,
        cart_snapshot=cart,
        delivery_details=delivery,
        total_amount=f"{cost + fee:.2f}",
        delivery_fee=f"{fee:.2f}",
        phone_number=delivery["phone_number"],
        session_status="pending",
        order=None,
        created_at=moment(now),
        expires_at=moment(now + LIFETIME),
    ), 201


@app.post("/api/payments/sessions/<uuid:session_id>/initiate_payment/")
def initiate_payment(session_id: UUID) -> Response:
    """Send the prompt, between two transactions."""
    user_id, wanted = user(), request.get_json(silent=True) or {}
    with pool.connection() as connection, connection.transaction():
        session = connection.execute(LOCK_SESSION, (session_id,)).fetchone()
        if session is None or session["user_id"] != user_id:
            raise Refused(404, "SESSION_NOT_FOUND")
        if session["session_status"] not in ("pending", "payment_initiated"):
            raise Refused(409, "SESSION_ALREADY_PAID")
        if session["expires_at"] <= datetime.now(UTC):
            raise Refused(400, "SESSION_EXPIRED")
        if connection.execute(SHORTAGE, (Jsonb(session["cart_snapshot"]["items"]),)).fetchone() is not None:
            raise Refused(409, "OUT_OF_STOCK")
        phone = msisdn(wanted.get("phone_number") or session["phone_number"])
        [row] = connection.execute(
            INSERT_TRANSACTION, (session_id, phone, session["total_amount"])
        ).fetchall()
        connection.execute(SET_STATUS, ("payment_initiated", session_id))
    accepted = push(session_id, phone, int(session["total_amount"]), row["transaction_id"])
    with pool.connection() as connection:
        connection.execute(SET_CHECKOUT_ID, (accepted["CheckoutRequestID"], row["transaction_id"]))
    return jsonify(
        status="success",
        message="STK Push sent successfully. Please check your phone.",
        session_id=session_id,
        transaction_id=row["transaction_id"],
        checkout_request_id=accepted["CheckoutRequestID"],
        customer_message=accepted["CustomerMessage"],
    )


@app.post("/api/payments/transactions/mpesa_callback/<uuid:session_id>/")
def take_callback(session_id: UUID) -> Response:
    """Record the payment and make the order, in one transaction."""
    result = request.get_json()["Body"]["stkCallback"]
    with pool.connection() as connection, connection.transaction():
        session = connection.execute(LOCK_SESSION, (session_id,)).fetchone()
        if session is None or session["session_status"] not in ("pending", "payment_initiated"):
            return jsonify(ResultCode=0, ResultDesc="Accepted")
        if result["ResultCode"] != 0:
            connection.execute(END_TRANSACTION, ("failed", None, session_id))
            connection.execute(SET_STATUS, ("failed", session_id))
            return jsonify(ResultCode=0, ResultDesc="Accepted")
        metadata = {item["Name"]: item.get("Value") for item in result["CallbackMetadata"]["Item"]}
        connection.execute(END_TRANSACTION, ("paid", metadata["MpesaReceiptNumber"], session_id))
        items = Jsonb(session["cart_snapshot"]["items"])
        connection.execute(LOCK_STOCK, (items,))
        connection.execute(TAKE_STOCK, (items,))
        order = (session["user_id"], session["total_amount"], Jsonb(session["delivery_details"]))
        [row] = connection.execute(INSERT_ORDER, order).fetchall()
        connection.execute(INSERT_ITEMS, (row["order_id"], items))
        connection.execute(CLEAR_CART, (session["user_id"],))
        connection.execute(FINISH_SESSION, (row["order_id"], session_id))
    return jsonify(ResultCode=0, ResultDesc="Accepted")


@app.get("/api/payments/sessions/<uuid:session_id>/status/")
def show_status(session_id: UUID) -> Response:
    """Show the status and the order."""
    user_id = user()
    with pool.connection() as connection:
        row = connection.execute(STATUS, (session_id, user_id)).fetchone()
    if row is None:
        raise Refused(404, "SESSION_NOT_FOUND")
    order = {name: row[name] for name in ("order_id", "order_number", "order_status", "payment_status")}
    return jsonify(
        session_id=session_id,
        session_status=row["session_status"],
        order=order if row["order_id"] else None,
        expires_at=moment(row["expires_at"]),
        created_at=moment(row["created_at"]),
    )


@app.post("/api/payments/sessions/<uuid:session_id>/extend_session/")
def extend_session(session_id: UUID) -> Response:
    """Give the session another quarter of an hour."""
    with pool.connection() as connection:
        row = connection.execute(EXTEND, (session_id, user())).fetchone()
    if row is None:
        raise Refused(400, "SESSION_EXPIRED")
    return jsonify(status="success", message="Session extended", expires_at=moment(row["expires_at"]))


@app.get("/api/payments/sessions/")
def list_sessions() -> Response:
    """List a page of the caller's sessions."""
    user_id, page = user(), max(1, request.args.get("page", 1, int))
    with pool.connection() as connection:
        [counted] = connection.execute(COUNT, (user_id,)).fetchall()
        rows = connection.execute(LIST, (user_id, PAGE_SIZE, PAGE_SIZE * (page - 1))).fetchall()
    has_more = counted["count"] > page * PAGE_SIZE
    return jsonify(
        count=counted["count"],
        next=f"{request.base_url}?page={page + 1}" if has_more else None,
        previous=f"{request.base_url}?page={page - 1}" if page > 1 else None,
        results=[show_listed(row) for row in rows],
    )


@app.get("/healthz")
def healthz() -> Response:
    """Say that the server is ready."""
    return jsonify(status="ok")


@app.get("/bare/<uuid:session_id>/")
def bare(session_id: UUID) -> Response:
    """Show a row by its key: the least that a view can do, which asks for no token."""
    with pool.connection() as connection:
        row = connection.execute(BARE, (session_id,)).fetchone()
    return jsonify(row)


def push(session_id: UUID, phone: str, shillings: int, transaction_id: int) -> dict[str, Any]:
    """Ask M-Pesa for the prompt; raise Refused if it does not take it."""
    stamp = datetime.now(NAIROBI).strftime("%Y%m%d%H%M%S")
    shortcode, passkey = os.environ["MPESA_BUSINESS_SHORTCODE"], os.environ["MPESA_PASSKEY"]
    body = {
        "BusinessShortCode": shortcode,
        "Password": base64.b64encode(f"{shortcode}{passkey}{stamp}".encode()).decode(),
        "Timestamp": stamp,
        "TransactionType": "CustomerPayBillOnline",
        "Amount": shillings,
        "PartyA": phone,
        "PartyB": shortcode,
        "PhoneNumber": phone,
        "CallBackURL": f"{os.environ['PLAIN_CALLBACK_URL']}{session_id}/",
        "AccountReference": f"P{transaction_id}",
        "TransactionDesc": "Order",
    }
    headers = {"Authorization": f"Bearer {daraja_token()}"}
    url = f"{os.environ['MPESA_BASE_URL']}/mpesa/stkpush/v1/processrequest"
    answer = daraja.post(url, json=body, headers=headers, timeout=30)
    if answer.status_code != 200:
        raise Refused(502, "MPESA_UNAVAILABLE")
    accepted: dict[str, Any] = answer.json()
    return accepted


@cache
def daraja_token() -> str:
    """Return the access token, which lasts an hour. Called before the server forks: M-Pesa honours the newest alone."""
    url = f"{os.environ['MPESA_BASE_URL']}/oauth/v1/generate?grant_type=client_credentials"
    login = os.environ["MPESA_CONSUMER_KEY"], os.environ["MPESA_CONSUMER_SECRET"]
    token: str = requests.get(url, auth=login, timeout=30).json()["access_token"]
    return token


def show_line(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line of the cart as the contract shows it."""
    return {
        "cart_item_id": line["cart_item_id"],
        "listing_id": line["listing_id"],
        "product_name": line["product_name"],
        "farm_name": line["farm_name"],
        "quantity": float(line["quantity"]),
        "price_at_addition": float(line["price"]),
        "subtotal": float(line["subtotal"]),
        "unit_of_measure": line["unit_of_measure"],
    }


def show_listed(row: dict[str, Any]) -> dict[str, Any]:
    """Return a session as the list shows it."""
    return {
        "session_id": row["session_id"],
        "session_status": row["session_status"],
        "total_amount": f"{row['total_amount']:.2f}",
        "created_at": moment(row["created_at"]),
        "order_details": row["order_id"]
        and {"order_id": row["order_id"], "order_number": row["order_number"]},
    }


def msisdn(phone: str) -> str:
    """Return a phone number as M-Pesa wants it; raise Refused for any other text."""
    digits = phone.removeprefix("+").removeprefix("254").removeprefix("0")
    if len(digits) != 9 or not digits.isdecimal() or digits[0] not in "17":
        raise Refused(400, "INVALID_INPUT")
    return f"254{digits}"


def moment(at: datetime) -> str:
    """Return a moment as the contract writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
