-- outside a transaction
-- The list of closed cases is read from here: most entries of the audit log are reads, not decisions.
CREATE INDEX CONCURRENTLY audit_log_decisions ON audit_log (recorded_at DESC, entry_id DESC)
    WHERE kind IN ('decision', 'decision_approved');
