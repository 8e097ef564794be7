"""A small shop of its own that is paid through Daftari: own users, own catalogue, own orders.

It asks Daftari for a checkout, sends the buyer to its payment page, and learns by webhook what became of it. Whatever
the browser says, an order is paid when a signed webhook says so.
"""

import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import requests
from flask import Flask, abort, g, redirect, render_template, request, session, url_for
from standardwebhooks import Webhook, WebhookVerificationError
from werkzeug.wrappers import Response

FOLDER = Path(__file__).parent
MAX_QUANTITY = 20
STATUS_OF = {
    "payment.paid": "paid",
    "order.created": "paid",
    "payment.failed": "failed",
    "payment.expired": "expired",
    "payment.in_doubt": "in doubt",
    "refund.due": "refund due",
    "refund.done": "refunded",
}

app = Flask(__name__)
app.secret_key = os.environ["SHOP_SECRET_KEY"]
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"  # So that no other site orders in a buyer's name.
app.config["MAX_CONTENT_LENGTH"] = 64 * 1024


def opened() -> sqlite3.Connection:
    """Return a connection to the shop's own database."""
    connection = sqlite3.connect(os.environ.get("SHOP_DATABASE", FOLDER / "shop.sqlite"), timeout=10)
    connection.row_factory = sqlite3.Row
    return connection


with closing(opened()) as _connection:  # Once, when the shop starts.
    _connection.executescript((FOLDER / "schema.sql").read_text())


def database() -> sqlite3.Connection:
    """Return this request's connection; as a context it is a transaction."""
    if "database" not in g:
        g.database = opened()
    connection: sqlite3.Connection = g.database
    return connection


@app.teardown_appcontext
def close_database(_error: BaseException | None) -> None:
    """Close the connection at the end of a request."""
    if "database" in g:
        g.database.close()


def user_id() -> str:
    """Return the UUID of who visits; a new visitor becomes a user."""
    if "user" not in session:
        session["user"] = str(uuid.uuid4())
        with database() as connection:
            connection.execute("INSERT INTO users (id) VALUES (?)", (session["user"],))
    known: str = session["user"]
    return known


@app.get("/")
def show_catalogue() -> str:
    """Show what there is to buy."""
    user_id()
    products = database().execute("SELECT * FROM products ORDER BY name").fetchall()
    return render_template("catalogue.html", products=products, most=MAX_QUANTITY)


@app.post("/orders")
def order() -> Response:
    """Keep an order, open a checkout for it, and send the buyer to the payment page."""
    product = (
        database().execute("SELECT * FROM products WHERE sku = ?", (request.form.get("sku"),)).fetchone()
    )
    quantity = request.form.get("quantity", type=int)
    if product is None or quantity is None or not 1 <= quantity <= MAX_QUANTITY:
        abort(400)
    order_id, total_cents = str(uuid.uuid4()), quantity * product["price_cents"]
    with database() as connection:
        connection.execute(
            "INSERT INTO orders (id, user_id, sku, quantity, total_cents) VALUES (?, ?, ?, ?, ?)",
            (order_id, user_id(), product["sku"], quantity, total_cents),
        )
    return redirect(open_checkout(order_id, product, quantity), 303)


def open_checkout(order_id: str, product: sqlite3.Row, quantity: int) -> str:
    """Return the address of the payment page of an order.

    The order's id is the reference and the idempotency key, so a repeat finds the same checkout.
    """
    page = url_for("show_order", order_id=order_id, _external=True)
    answer = requests.post(
        f"{os.environ['DAFTARI_URL']}/api/payments/checkouts/",
        json={
            "reference": order_id,
            "buyer": {"id": user_id()},
            "lines": [
                {
                    "product_id": product["sku"],
                    "name": product["name"],
                    "quantity": str(quantity),
                    "unit_price": shillings(product["price_cents"]),
                }
            ],
            "success_url": page,
            "cancel_url": page,
        },
        headers={"Authorization": f"Bearer {os.environ['DAFTARI_API_KEY']}", "Idempotency-Key": order_id},
        timeout=10,
    )
    if answer.status_code != 201:
        app.logger.error("Daftari answers %s: %s", answer.status_code, answer.text[:500])
        abort(502)
    payment_url: str = answer.json()["payment_url"]
    return payment_url


@app.get("/orders/<uuid:order_id>")
def show_order(order_id: uuid.UUID) -> str:
    """Show an order to its buyer, and to nobody else."""
    found = (
        database()
        .execute(
            "SELECT orders.*, products.name FROM orders JOIN products USING (sku) WHERE id = ? AND user_id = ?",
            (str(order_id), user_id()),
        )
        .fetchone()
    )
    if found is None:
        abort(404)
    return render_template("order.html", order=found)


@app.post("/webhooks")
def take_webhook() -> tuple[str, int]:
    """Take a message once, and move its order on if the message is the latest of its session."""
    try:
        message: dict[str, Any] = Webhook(os.environ["WEBHOOK_SECRET"]).verify(
            request.get_data(), dict(request.headers)
        )
    except WebhookVerificationError:
        abort(400)
    data, status = message["data"], STATUS_OF.get(message["type"])
    with database() as connection:  # One transaction: what is taken has had its effect.
        is_new = connection.execute(
            "INSERT OR IGNORE INTO taken_webhooks (id) VALUES (?)", (request.headers["webhook-id"],)
        ).rowcount
        if is_new and status is not None:
            connection.execute(
                "UPDATE orders SET status = ?, version = ?, receipt = coalesce(?, receipt) "
                "WHERE id = ? AND version < ?",
                (status, data["version"], data["receipt"], data["reference"], data["version"]),
            )
    return "", 204


@app.template_filter()
def shillings(cents: int) -> str:
    """Return cents as shillings, as people and Daftari write them."""
    return f"{cents // 100}.{cents % 100:02d}"
