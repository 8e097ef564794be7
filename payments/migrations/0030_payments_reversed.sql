-- A payment that M-Pesa or its payer took back without our asking is an event of its session.
INSERT INTO event_topics (topic) VALUES ('payment_session.payment_reversed.v1');

-- Reversals are found by the payment that they reverse.
CREATE INDEX mpesa_movements_reversals ON mpesa_movements (linked_receipt) WHERE kind = 'reversal';

-- Those that were only a case until now are matched again, and recorded. The case stays as it is, open or closed.
UPDATE mpesa_movements SET settled_at = NULL WHERE kind = 'reversal' AND verdict = 'reversal_unexpected';
