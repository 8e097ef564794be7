-- A time that no client can read, and details that none can decode, would keep whole lists from being shown. NOT VALID:
-- so the lock is as short as that of any new column, and rows from before are read with their times cut to these bounds.
ALTER TABLE payment_sessions ADD CONSTRAINT payment_sessions_times_check CHECK (
    created_at BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND expires_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
    AND last_requested_at BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND initiated_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
    AND paid_at BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND order_created_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
    AND ended_at BETWEEN '1900-01-01Z' AND '9000-01-01Z' AND updated_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
) NOT VALID;

-- Appends an entry, whose details are an object of at most 16,384 bytes as the application writes it; PostgreSQL adds a
-- space after each separator. It is nested at most 16 deep, and its numbers are integers of 64 bits.
CREATE OR REPLACE FUNCTION record_audit_entry(
    p_entry_id uuid, p_recorded_at timestamptz, p_kind text, p_actor text, p_subject text, p_reason text,
    p_details jsonb, p_key_id integer, p_mac bytea
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF octet_length(p_details::text) > 2 * 16384 OR jsonb_path_exists(p_details, '$.**{17 to last}')
       OR jsonb_path_exists(p_details, 'strict $.** ? (@.type() == "number" && (
              @ > 9223372036854775807 || @ < -9223372036854775808 || @ != @.floor()))') THEN
        RAISE EXCEPTION 'the details of entry % are too long, too deep or no plain JSON', p_entry_id
            USING ERRCODE = 'DF003';
    END IF;
    INSERT INTO public.audit_log (entry_id, recorded_at, kind, actor, subject, reason, details, key_id, mac)
    VALUES (p_entry_id, p_recorded_at, p_kind, p_actor, p_subject, p_reason, p_details, p_key_id, p_mac);
END
$$;
