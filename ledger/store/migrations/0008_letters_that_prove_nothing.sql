-- Anybody may post what proves nothing: such letters wait behind those that prove their sender, and the oldest of them go.
CREATE INDEX daraja_inbox_waiting ON daraja_inbox (is_proven, next_try_at) WHERE state = 'new';
DROP INDEX daraja_inbox_to_do;
CREATE INDEX daraja_inbox_unproven ON daraja_inbox (received_at)
    WHERE NOT is_proven AND session_id IS NULL AND state <> 'closed';
