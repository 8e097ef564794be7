-- Sessions whose order was given up: the money goes back, so no order may be made any more.
CREATE TABLE shop_orders_ruled_out (
    session_id   uuid        PRIMARY KEY,
    ruled_out_at timestamptz NOT NULL
);
