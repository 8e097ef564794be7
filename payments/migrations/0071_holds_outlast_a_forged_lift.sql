-- Who has the application's login can write an entry that lifts a legal hold; only its MAC, which the database cannot
-- check, tells it from a real one. So a lift counts here a week after it was stored: `daftari verify` names a forged one
-- before anything is gone. When an entry was stored is a time that no login can give.
ALTER TABLE audit_log ADD COLUMN stored_at timestamptz;
ALTER TABLE audit_log ALTER COLUMN stored_at SET DEFAULT clock_timestamp();
COMMENT ON COLUMN audit_log.stored_at IS 'When PostgreSQL stored the entry, by its own clock; null before this column.';
COMMENT ON COLUMN audit_log.mac IS
    'HMAC-SHA256 of the canonical JSON of all other columns but stored_at, under the key key_id for the purpose "audit log".';

-- A time that no process can read would keep `daftari verify` from naming the entry.
ALTER TABLE audit_log ADD CONSTRAINT audit_log_recorded_at_check
    CHECK (recorded_at BETWEEN '1900-01-01Z' AND '9000-01-01Z') NOT VALID;

CREATE FUNCTION user_of_subject(p_subject text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_subject ~ '^user:[0-9]{1,19}$' THEN
        CASE WHEN substr(p_subject, 6)::numeric <= 9223372036854775807 THEN substr(p_subject, 6)::bigint END END
$$;

-- A hold stands from the moment it is placed, until a later lift has been stored for 7 days.
CREATE OR REPLACE FUNCTION held_customers() RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    SELECT DISTINCT public.user_of_subject(placed.subject) FROM public.audit_log AS placed
    WHERE placed.kind = 'legal_hold_placed' AND public.user_of_subject(placed.subject) IS NOT NULL
      AND NOT EXISTS (
        SELECT FROM public.audit_log AS lifted
        WHERE lifted.kind = 'legal_hold_lifted' AND lifted.subject = placed.subject
          AND coalesce(lifted.stored_at, lifted.recorded_at) >= coalesce(placed.stored_at, placed.recorded_at)
          AND coalesce(lifted.stored_at, lifted.recorded_at) <= clock_timestamp() - interval '7 days')
$$;
