"""A shop of its own behind Daftari, in one file: products, carts, stock and orders in SQLite.

    DAFTARI_SHOP_SECRET=whsec_... python examples/http_shop.py shop.sqlite 8100

Daftari calls it at http://127.0.0.1:8100/daftari, as docs/http-shop.md says. Its buyers fill their carts by
PUT /carts/USER/PRODUCT/ with {"quantity": "2"}. It needs Flask and standardwebhooks.
"""

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, abort, request
from standardwebhooks import Webhook, WebhookVerificationError

TABLES = """
CREATE TABLE IF NOT EXISTS products
    (product_id INTEGER PRIMARY KEY, name TEXT, price TEXT, unit TEXT, stock INTEGER CHECK (stock >= 0));
CREATE TABLE IF NOT EXISTS cart_lines
    (line_id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT, product_id INTEGER, quantity INTEGER,
     UNIQUE (user, product_id));
CREATE TABLE IF NOT EXISTS orders
    (order_id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT UNIQUE, body TEXT, is_returned INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS order_lines
    (order_id INTEGER, line_id INTEGER UNIQUE, product_id INTEGER, quantity INTEGER);
CREATE TABLE IF NOT EXISTS ruled_out (session_id TEXT PRIMARY KEY);
INSERT OR IGNORE INTO products VALUES
    (1, 'Fresh Tomatoes', '150.00', 'kg', 40000), (2, 'Kienyeji Eggs', '480.00', 'tray', 10000);
"""
DELIVERY_FEE = "50.00"
Data = dict[str, Any]


class Shop:
    """What Daftari may ask. Quantities are kept in thousandths; each request is one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def quote(self, data: Data) -> Data:
        """Say what is in a user's cart, what it costs, and what of it is short."""
        rows = self.db.execute(
            "SELECT line_id, product_id, name, price, unit, quantity FROM cart_lines"
            " JOIN products USING (product_id) WHERE user = ? ORDER BY line_id",
            (data["user"],),
        ).fetchall()
        lines = [
            {
                "cart_item_id": row["line_id"],
                "listing_id": row["product_id"],
                "product_name": row["name"],
                "quantity": as_text(row["quantity"]),
                "unit_price": row["price"],
                "unit": row["unit"],
            }
            for row in rows
        ]
        wanted = {row["product_id"]: row["quantity"] for row in rows}
        return {"lines": lines, "delivery_fee": DELIVERY_FEE, "shortages": self.short(wanted)}

    def shortages(self, data: Data) -> Data:
        """Say what of some lines could not be sold now."""
        return {"shortages": self.short(wanted_of(data))}

    def order(self, data: Data) -> Data:
        """Make the order of a paid session, once: UNIQUE (session_id) and the lock of the transaction see to it."""
        session_id = data["session_id"]
        made = self.find_order(data)
        if made["order"]:
            return made
        if self.db.execute("SELECT 1 FROM ruled_out WHERE session_id = ?", (session_id,)).fetchone():
            return {"refused": "ORDER_NOT_MADE"}
        line_ids = [line["cart_item_id"] for line in data["lines"] if line["cart_item_id"]]
        marks = ",".join("?" * len(line_ids))
        if self.db.execute(f"SELECT 1 FROM order_lines WHERE line_id IN ({marks})", line_ids).fetchone():  # noqa: S608 - question marks
            return {"refused": "CART_ALREADY_BOUGHT"}
        wanted = wanted_of(data)
        if self.short(wanted):
            return {"refused": "OUT_OF_STOCK"}
        for product_id, quantity in wanted.items():
            self.db.execute(
                "UPDATE products SET stock = stock - ? WHERE product_id = ?", (quantity, product_id)
            )
        made_by = self.db.execute(
            "INSERT INTO orders (session_id, body) VALUES (?, ?)", (session_id, json.dumps(data))
        )
        for line in data["lines"]:
            self.db.execute(
                "INSERT INTO order_lines VALUES (?, ?, ?, ?)",
                (made_by.lastrowid, line["cart_item_id"], product_of(line), thousandths(line["quantity"])),
            )
        self.db.execute(f"DELETE FROM cart_lines WHERE line_id IN ({marks})", line_ids)  # noqa: S608 - question marks
        return self.find_order(data)

    def rule_out(self, data: Data) -> Data:
        """Promise that a session gets no order any more, unless it has one."""
        made = self.find_order(data)
        if not made["order"]:
            self.db.execute("INSERT OR IGNORE INTO ruled_out VALUES (?)", (data["session_id"],))
        return made

    def return_goods(self, data: Data) -> Data:
        """Put the goods of an order back on the shelf, once."""
        changed = self.db.execute(
            "UPDATE orders SET is_returned = 1 WHERE session_id = ? AND NOT is_returned",
            (data["session_id"],),
        )
        if changed.rowcount:
            self.db.execute(
                "UPDATE products SET stock = stock + returned.quantity FROM"
                " (SELECT product_id, sum(quantity) AS quantity FROM order_lines JOIN orders USING (order_id)"
                "  WHERE session_id = ? GROUP BY product_id) AS returned"
                " WHERE products.product_id = returned.product_id",
                (data["session_id"],),
            )
        return {"returned": bool(changed.rowcount)}

    def find_order(self, data: Data) -> Data:
        """Say which order a session has."""
        row = self.db.execute(
            "SELECT order_id FROM orders WHERE session_id = ?", (data["session_id"],)
        ).fetchone()
        order = {"order_id": row["order_id"], "order_number": f"WEB-{row['order_id']:05d}"} if row else None
        return {"order": order}

    def short(self, wanted: dict[int, int]) -> list[Data]:
        """Return the products of which there is less than is wanted."""
        found = []
        for product_id, quantity in wanted.items():
            row = self.db.execute(
                "SELECT name, stock FROM products WHERE product_id = ?", (product_id,)
            ).fetchone()
            if row is None or row["stock"] < quantity:
                name, stock = (row["name"], row["stock"]) if row else (f"Product {product_id}", 0)
                found.append(
                    {
                        "listing_id": product_id,
                        "product_name": name,
                        "asked": as_text(quantity),
                        "available": as_text(stock),
                        "withdrawn": row is None,
                    }
                )
        return found


def wanted_of(data: Data) -> dict[int, int]:
    """Return how much of each product some lines ask for."""
    wanted: dict[int, int] = {}
    for line in data["lines"]:
        product_id = product_of(line)
        if product_id is not None:
            wanted[product_id] = wanted.get(product_id, 0) + thousandths(line["quantity"])
    return wanted


def product_of(line: Data) -> int | None:
    """Return the product of a line: of a cart of this shop, or of a payment that its server created."""
    found: int | None = line["listing_id"]
    return int(line["product_id"]) if found is None and (line["product_id"] or "").isdigit() else found


def thousandths(quantity: str) -> int:
    """Read a quantity, which is decimal text with up to three decimals."""
    whole, _, rest = quantity.partition(".")
    return int(whole) * 1000 + int(rest.ljust(3, "0"))


def as_text(quantity: int) -> str:
    """Write a quantity as decimal text."""
    return f"{quantity // 1000}.{quantity % 1000:03d}"


def create_app(path: str, secret: str) -> Flask:
    """Return the shop on a database file; `secret` is DAFTARI_SHOP_SECRET."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 256 * 1024
    webhook = Webhook(secret)

    @contextmanager
    def database() -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(path, timeout=10, isolation_level=None)
        db.row_factory = sqlite3.Row
        try:
            db.execute("BEGIN IMMEDIATE")  # Of an order and its ruling-out at one moment, one comes first.
            yield db
            db.execute("COMMIT")
        finally:
            db.close()

    with sqlite3.connect(path) as db:
        db.executescript(TABLES)

    @app.post("/daftari")
    def answer() -> Data:
        try:
            message = webhook.verify(request.get_data(), dict(request.headers))
        except WebhookVerificationError:
            abort(401)
        with database() as db:
            shop = Shop(db)
            answers: dict[str, Callable[[Data], Data]] = {
                "quote": shop.quote,
                "shortages": shop.shortages,
                "order": shop.order,
                "rule_out": shop.rule_out,
                "return_goods": shop.return_goods,
                "find_order": shop.find_order,
            }
            if message["type"] not in answers:
                abort(400)
            return answers[message["type"]](message["data"])

    @app.put("/carts/<user>/<int:product_id>/")
    def put_line(user: str, product_id: int) -> Data:
        quantity = thousandths(request.get_json()["quantity"])
        with database() as db:
            db.execute(
                "INSERT INTO cart_lines (user, product_id, quantity) VALUES (?, ?, ?)"
                " ON CONFLICT (user, product_id) DO UPDATE SET quantity = excluded.quantity",
                (user, product_id, quantity),
            )
            return Shop(db).quote({"user": user})

    return app


if __name__ == "__main__":
    create_app(sys.argv[1], os.environ["DAFTARI_SHOP_SECRET"]).run(
        "127.0.0.1", int(sys.argv[2]), threaded=True
    )
