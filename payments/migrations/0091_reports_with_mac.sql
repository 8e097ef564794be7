-- By its MAC, which the database cannot make, the report of an import is told from one that a login of the database
-- wrote. Reports from before are believed as they are.
ALTER TABLE reconciliations ADD COLUMN mac text, ADD COLUMN is_from_before boolean NOT NULL DEFAULT true;
ALTER TABLE reconciliations ALTER COLUMN is_from_before SET DEFAULT false;
COMMENT ON COLUMN reconciliations.mac IS 'Number of the key, a point, and HMAC-SHA256 over the report.';
COMMENT ON COLUMN reconciliations.is_from_before IS 'Whether it was stored before reports had a MAC.';
