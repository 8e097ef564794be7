-- What a person has to look at is found by small indexes that hold the open cases only.

CREATE INDEX payment_sessions_without_receipt ON payment_sessions (paid_at)
    WHERE receipt IS NULL AND paid_at IS NOT NULL;
CREATE INDEX payment_sessions_without_order ON payment_sessions (paid_at) WHERE session_status = 'paid';
