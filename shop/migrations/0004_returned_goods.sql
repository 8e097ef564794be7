-- The orders whose goods went back on the shelf, each once. Rows are only added.
CREATE TABLE shop_returns (
    order_id bigint PRIMARY KEY REFERENCES shop_orders,
    returned_at timestamptz NOT NULL
);
COMMENT ON TABLE shop_returns IS 'The orders whose goods went back on the shelf, each once.';
