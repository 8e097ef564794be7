-- By its MAC, which the database cannot make, the report of an import is told from one that a login of the database
-- wrote. Reports from before are believed as they are.
ALTER TABLE reconciliations ADD COLUMN mac text, ADD COLUMN is_from_before boolean NOT NULL DEFAULT true;
ALTER TABLE reconciliations ALTER COLUMN is_from_before SET DEFAULT false;
COMMENT ON COLUMN reconciliations.mac IS 'Number of the key, a point, and HMAC-SHA256 over the report.';
COMMENT ON COLUMN reconciliations.is_from_before IS 'Whether it was stored before reports had a MAC.';

-- So is a row of the movement log, which may be one of a movement that a login logged before us: its key is not taken by
-- that. A process of the release before makes no MAC: it takes up no movements until it is restarted.
ALTER TABLE movement_log ADD COLUMN mac text, ADD COLUMN is_from_before boolean NOT NULL DEFAULT true;
ALTER TABLE movement_log ALTER COLUMN is_from_before SET DEFAULT false;
ALTER TABLE movement_log ADD CONSTRAINT movement_log_mac_check CHECK (is_from_before OR mac IS NOT NULL) NOT VALID;
ALTER TABLE movement_log DROP CONSTRAINT movement_log_movement_key_key;
COMMENT ON COLUMN movement_log.mac IS 'Number of the key, a point, and HMAC-SHA256 over the row.';
COMMENT ON COLUMN movement_log.is_from_before IS 'Whether it was stored before these rows had a MAC.';
