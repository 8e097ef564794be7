-- Reserves what is unique of its kind for a session, as reserve_reference does, and raises DF007 where it is another's: so
-- that a statement of several parts is written only if the reference is this session's.
CREATE FUNCTION claim_reference(p_value text, p_kind text, p_session_id uuid) RETURNS uuid
LANGUAGE plpgsql AS $$
BEGIN
    IF reserve_reference(p_value, p_kind, p_session_id) IS DISTINCT FROM p_session_id THEN
        RAISE EXCEPTION 'this % belongs to another session', p_kind USING ERRCODE = 'DF007';
    END IF;
    RETURN p_session_id;
END
$$;
