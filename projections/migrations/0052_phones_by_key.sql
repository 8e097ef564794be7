-- A new store had a plan for this that read all sessions, kept for as long as a connection lived: each is looked up by
-- its key, and the arrays come by SELECT, so that one plan is kept.
CREATE OR REPLACE FUNCTION index_phones(p_session_ids uuid[], p_digests bytea[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_indexed integer;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('daftari payment_phones', 0));
    INSERT INTO public.payment_phones (phone_digest, created_at, session_id, user_id)
    SELECT named.digest, session.created_at, session.session_id, session.user_id
    FROM unnest((SELECT p_session_ids), (SELECT p_digests)) AS named (session_id, digest), LATERAL (
        SELECT created_at, session_id, user_id FROM public.payment_sessions AS known
        WHERE known.session_id = named.session_id
          AND NOT EXISTS (SELECT FROM public.customer_erasures AS erasure WHERE erasure.user_id = known.user_id)
        OFFSET 0
    ) AS session
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_indexed = ROW_COUNT;
    RETURN v_indexed;
END
$$;
