-- A sum may be sent back more than once, when an earlier try came to nothing: a letter speaks of one of the tries.
ALTER TABLE daraja_inbox ADD COLUMN sending integer;

-- How often M-Pesa was asked about a refund in doubt, and when to ask again.
CREATE TABLE refund_checks (
    session_id uuid NOT NULL,
    refund integer NOT NULL,
    sending integer NOT NULL,
    asked_at timestamptz NOT NULL,
    tries integer NOT NULL,
    next_check_at timestamptz NOT NULL,
    last_answer text NOT NULL,
    PRIMARY KEY (session_id, refund, sending)
);
CREATE INDEX refund_checks_asked ON refund_checks (asked_at);
