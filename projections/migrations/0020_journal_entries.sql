-- The books: each row moves a sum from one account to another, so that no row and no set of rows can be out of balance.
CREATE TABLE journal_entries (
    entry_id bigint PRIMARY KEY,
    what text NOT NULL,
    debit_account text NOT NULL,
    credit_account text NOT NULL,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    position bigint,
    movement bigint,
    receipt text,
    session_id uuid,
    CHECK (debit_account <> credit_account),
    CHECK (num_nonnulls(position, movement) = 1),
    CHECK (position IS NULL OR session_id IS NOT NULL)
);
COMMENT ON TABLE journal_entries IS
    'Double-entry journal, folded from the log and from `movement_log`: each row debits one account and credits another.';
COMMENT ON COLUMN journal_entries.what IS 'The public name of the event, or what M-Pesa''s movement is.';
COMMENT ON COLUMN journal_entries.position IS 'Of the event in the log; or `movement`, the ordinal in `movement_log`.';
COMMENT ON COLUMN journal_entries.receipt IS 'The M-Pesa receipt that the sum came in by, went out by, or belongs to.';

-- The money of a customer's payment enters the books once, whichever source reports it first.
CREATE UNIQUE INDEX journal_entries_receipt ON journal_entries (receipt)
    WHERE debit_account = 'mpesa_clearing'
      AND credit_account IN ('customer_funds', 'surplus', 'receipts_awaited', 'unmatched_receipts');
CREATE UNIQUE INDEX journal_entries_movement ON journal_entries (movement) WHERE movement IS NOT NULL;
-- What an event about a receipt has to look for: few rows.
CREATE INDEX journal_entries_counterpart ON journal_entries (receipt)
    WHERE movement IS NOT NULL OR credit_account = 'refunded_otherwise';
CREATE INDEX journal_entries_session ON journal_entries (session_id);
CREATE INDEX journal_entries_debit ON journal_entries (debit_account, entry_id);
CREATE INDEX journal_entries_credit ON journal_entries (credit_account, entry_id);

CREATE TABLE journal_entries_rebuilt (LIKE journal_entries INCLUDING ALL);
COMMENT ON TABLE journal_entries_rebuilt IS
    'The shadow table in which `journal_entries` is rebuilt before it takes its place.';
