-- Money that M-Pesa told us of, in whichever channel: C2B notices, pulled transactions, rows of statements. A payment
-- is one row however many tell of it; other rows of a statement are known by receipt, reason, direction and amount.
CREATE TABLE mpesa_movements (
    movement_key text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('payment', 'reversal', 'other')),
    receipt text NOT NULL,
    money_in boolean NOT NULL,
    amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
    happened_at timestamptz NOT NULL,
    evidence text NOT NULL,
    transaction_id bigint,
    sealed_reference text,
    linked_receipt text,
    verdict text NOT NULL CHECK (verdict IN ('new', 'posted', 'credited', 'amount_differs', 'unknown', 'known_elsewhere',
        'refund_settled', 'reversal_unexpected', 'not_ours')),
    session_id uuid,
    told text,
    first_seen_at timestamptz NOT NULL,
    settled_at timestamptz,
    closed_at timestamptz,
    closed_by text,
    note text
);
CREATE INDEX mpesa_movements_receipt ON mpesa_movements (receipt);
CREATE INDEX mpesa_movements_new ON mpesa_movements (first_seen_at) WHERE verdict = 'new';
CREATE INDEX mpesa_movements_cases ON mpesa_movements (first_seen_at)
    WHERE verdict IN ('unknown', 'known_elsewhere', 'reversal_unexpected') AND closed_at IS NULL;
COMMENT ON COLUMN mpesa_movements.transaction_id IS 'What the account reference names, where it is one of ours.';
COMMENT ON COLUMN mpesa_movements.sealed_reference IS 'What the payer typed instead, which may be anything.';
COMMENT ON COLUMN mpesa_movements.evidence IS 'The best witness that was acted on.';

-- What each import of a statement found. Bounded text without personal data.
CREATE TABLE reconciliations (
    reconciliation_id uuid PRIMARY KEY,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    file_sha256 text NOT NULL,
    found jsonb NOT NULL
);
CREATE INDEX reconciliations_latest ON reconciliations (started_at DESC);

-- Up to when M-Pesa's own list of transactions was pulled, and the periods that it gives no more.
CREATE TABLE pull_progress (
    shortcode text PRIMARY KEY,
    pulled_until timestamptz,
    next_at timestamptz NOT NULL
);
CREATE TABLE pull_gaps (
    gap_id uuid PRIMARY KEY,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    found_at timestamptz NOT NULL,
    closed_at timestamptz,
    closed_by text
);
CREATE INDEX pull_gaps_open ON pull_gaps (found_at) WHERE closed_at IS NULL;

-- A token bucket a kind of question, for all processes together.
CREATE TABLE question_budgets (
    name text PRIMARY KEY,
    tokens double precision NOT NULL,
    refilled_at timestamptz NOT NULL,
    paused_until timestamptz
);
