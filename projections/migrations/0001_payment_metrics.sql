-- The read side: what followers keep beside the row that each append moves.

-- A callback that carries no token of ours is found by M-Pesa's own id, of whichever attempt.
CREATE INDEX payment_events_checkout ON payment_events ((state->>'checkout_digest'))
    WHERE topic = 'payment_session.payment_initiated.v1';

-- One row an hour of creation: what has become of the sessions created in it. The first six figures say where they
-- stand now and sum up to sessions_created; the others never fall.
CREATE TABLE payment_metrics (
    hour timestamptz PRIMARY KEY,
    sessions_created bigint NOT NULL,
    pending bigint NOT NULL,
    payment_initiated bigint NOT NULL,
    paid bigint NOT NULL,
    failed bigint NOT NULL,
    expired bigint NOT NULL,
    order_created bigint NOT NULL,
    payments_initiated bigint NOT NULL,
    payments_received bigint NOT NULL,
    orders_created bigint NOT NULL,
    paid_cents bigint NOT NULL
);
COMMENT ON COLUMN payment_metrics.payments_initiated IS
    'Sessions that ever had a prompt known to M-Pesa: those that are neither pending nor expired.';
COMMENT ON COLUMN payment_metrics.payments_received IS 'Sessions that were ever paid, whatever came of it.';
COMMENT ON COLUMN payment_metrics.paid_cents IS
    'What those payments brought; money beyond what was owed is in payment_sessions.received_cents.';

-- Where a rebuild folds the log anew before it takes the place of the live rows.
CREATE TABLE payment_metrics_rebuilt (LIKE payment_metrics INCLUDING ALL);
