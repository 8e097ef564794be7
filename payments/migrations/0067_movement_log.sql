-- What the books take from M-Pesa's movements: money that no event of a session accounts for. Rows are only added, in
-- the order in which the journal takes them up; `after_position` is how far it had followed the log by then, so that
-- it can be folded anew in the same order.
CREATE TABLE movement_log (
    ordinal bigint PRIMARY KEY,
    movement_key text NOT NULL UNIQUE,
    kind text NOT NULL,
    category text,
    receipt text NOT NULL,
    linked_receipt text,
    money_in boolean NOT NULL,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    session_id uuid,
    origin smallint NOT NULL,
    after_position bigint NOT NULL
);
CREATE INDEX movement_log_receipt ON movement_log (receipt) WHERE category IS NULL;
CREATE INDEX movement_log_linked ON movement_log (linked_receipt) WHERE category IS NULL AND linked_receipt IS NOT NULL;
COMMENT ON TABLE movement_log IS
    'Movements of M-Pesa that the books post, with the figures they were posted by; rows are only added.';
COMMENT ON COLUMN movement_log.after_position IS 'How far the journal had followed the log of `origin` before it.';

ALTER TABLE mpesa_movements ADD COLUMN category text, ADD COLUMN journal_ordinal bigint;
COMMENT ON COLUMN mpesa_movements.category IS 'Of what is no payment: charge, settlement, or null for anything else.';
COMMENT ON COLUMN mpesa_movements.journal_ordinal IS
    'Its row of `movement_log`; 0 if an event accounts for it, null before the journal has looked at it.';
-- Payments are stored as `new`, and most are credited: none of those is ever in it.
CREATE INDEX mpesa_movements_for_journal ON mpesa_movements (first_seen_at) WHERE journal_ordinal IS NULL
    AND (kind = 'payment' AND verdict = 'unknown' OR kind <> 'payment' AND verdict <> 'new');
