-- Rows are only added: a proposal, and later its one end.
-- No personal data: `arguments` holds ids, amounts, receipts of payouts, and notes that were looked at.
CREATE TABLE decision_proposals (
    proposal_id uuid PRIMARY KEY,
    action text NOT NULL,
    subject text NOT NULL,
    session_id uuid,
    amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
    arguments jsonb NOT NULL,
    proposed_by text NOT NULL,
    proposed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    key_id integer NOT NULL,
    mac bytea NOT NULL
);
COMMENT ON TABLE decision_proposals IS 'Decisions of one person that a second one has to approve.';
COMMENT ON COLUMN decision_proposals.mac IS 'HMAC-SHA256 of the content by the audit log''s key of this number.';
CREATE INDEX decision_proposals_open ON decision_proposals (expires_at);
CREATE TABLE decision_proposal_ends (
    proposal_id uuid PRIMARY KEY REFERENCES decision_proposals,
    outcome text NOT NULL CHECK (outcome IN ('approved', 'withdrawn', 'lapsed')),
    ended_by text NOT NULL,
    ended_at timestamptz NOT NULL
);
COMMENT ON TABLE decision_proposal_ends IS 'How each proposal ended, once.';
COMMENT ON COLUMN decision_proposal_ends.outcome IS 'lapsed: what was proposed had been done, or decided, otherwise.';

-- Who paid, as a keyed digest of the phone, where M-Pesa names it: no one decides about their own payment.
ALTER TABLE mpesa_movements ADD COLUMN payer_digest text;
