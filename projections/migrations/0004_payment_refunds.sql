-- One row a sum that must go back, or has gone: what was decided, and how far it is.
CREATE TABLE payment_refunds (
    session_id uuid NOT NULL,
    refund integer NOT NULL,
    attempt integer NOT NULL,
    state text NOT NULL,
    amount_cents bigint NOT NULL,
    receipt text,
    why text NOT NULL,
    due_at timestamptz NOT NULL,
    approved_by text,
    approved_at timestamptz,
    refused_by text,
    refused_at timestamptz,
    refused_reason text,
    requested_at timestamptz,
    conversation_id text,
    in_doubt boolean NOT NULL,
    doubted_at timestamptz,
    doubt_reason text,
    done_at timestamptz,
    means text,
    reversal_receipt text,
    recorded_by text,
    note text,
    failures integer NOT NULL,
    unsent_in_a_row integer NOT NULL,
    failed_at timestamptz,
    failure_code text,
    failure_text text,
    PRIMARY KEY (session_id, refund)
);
CREATE INDEX payment_refunds_newest ON payment_refunds (due_at DESC, session_id, refund);
CREATE INDEX payment_refunds_open ON payment_refunds (state, due_at) WHERE state <> 'refunded';
CREATE INDEX payment_refunds_credential_trouble ON payment_refunds (failed_at)
    WHERE failure_code IN ('WRONG_CREDENTIAL', 'OPERATOR_LOCKED');
COMMENT ON COLUMN payment_refunds.failures IS 'How often it was sent, or tried to be, in vain.';
COMMENT ON COLUMN payment_refunds.unsent_in_a_row IS
    'How many of the latest tries M-Pesa took nothing of, since the policy or a person approved it.';

-- Where a rebuild folds the log anew before it takes the place of the live rows.
CREATE TABLE payment_refunds_rebuilt (LIKE payment_refunds INCLUDING ALL);
