-- A run reads everything, or what came after the last run; up to which block nothing was wrong, only its MAC can say.
ALTER TABLE verification_runs
    ADD COLUMN form text NOT NULL DEFAULT 'whole' CHECK (form IN ('whole', 'incremental')),
    ADD COLUMN verified_block text,
    ADD COLUMN key_id integer,
    ADD COLUMN mac bytea;
COMMENT ON COLUMN verification_runs.form IS '"whole": every event was read; "incremental": sessions that changed since.';
COMMENT ON COLUMN verification_runs.verified_block IS
    'The last signed block of a run that found nothing wrong, as ORIGIN-NUMBER-HASH.';
COMMENT ON COLUMN verification_runs.mac IS
    'HMAC-SHA256 over the run, by the key of that number for "verification runs". NULL in runs of older releases.';
