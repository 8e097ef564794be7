-- Money that M-Pesa tells of finds its attempt by the account reference that we pushed, which names the transaction;
-- what a statement should tell of is found by when it was paid.
CREATE INDEX payment_events_transaction ON payment_events ((state->>'transaction_id'))
    WHERE topic = 'payment_session.payment_requested.v1';
CREATE INDEX payment_events_paid_at ON payment_events ((state->>'paid_at'))
    WHERE topic IN ('payment_session.paid.v1', 'payment_session.surplus_received.v1');
