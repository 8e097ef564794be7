-- outside a transaction
-- The books as they were known at a time are read from the entries of the days that changed since.
CREATE INDEX CONCURRENTLY journal_entries_occurred ON journal_entries (occurred_at);
CREATE INDEX CONCURRENTLY journal_entries_rebuilt_occurred ON journal_entries_rebuilt (occurred_at);
