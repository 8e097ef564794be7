-- One row a thing about a payment that may come to wait for a person: written when it begins, gone when it is settled.
-- Time alone makes some of them a case, so each says from when on it is shown; the list asks the clock, the rows do not.
CREATE TABLE payment_cases (
    session_id uuid NOT NULL,
    subject text NOT NULL,
    number integer NOT NULL,
    kind text NOT NULL,
    since timestamptz NOT NULL,
    visible_from timestamptz NOT NULL,
    money_cents bigint,
    detail text NOT NULL,
    PRIMARY KEY (session_id, subject, number)
);
CREATE INDEX payment_cases_oldest ON payment_cases (since, session_id);
COMMENT ON COLUMN payment_cases.subject IS
    'What it is about: an attempt, a receipt, the order, a refund or a contradiction; number counts them in the session.';

-- Where a rebuild folds the log anew before it takes the place of the live rows.
CREATE TABLE payment_cases_rebuilt (LIKE payment_cases INCLUDING ALL);

-- An operator may close what a handler could not cope with.
ALTER TABLE follower_failures
    DROP CONSTRAINT follower_failures_state_check,
    ADD CONSTRAINT follower_failures_state_check CHECK (state IN ('retrying', 'set_aside', 'closed')),
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN closed_by text,
    ADD COLUMN note text;
