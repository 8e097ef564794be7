-- A revocation is never taken back: the application writes them by functions alone.
CREATE FUNCTION revoke_token(p_user_id bigint, p_token_id text, p_at timestamptz, p_ends_at timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    INSERT INTO public.token_revocations AS known (user_id, token_id, revoked_at, expires_at)
    VALUES (p_user_id, p_token_id, p_at, p_ends_at)
    ON CONFLICT (user_id, token_id) DO UPDATE SET
        revoked_at = greatest(known.revoked_at, excluded.revoked_at),
        expires_at = CASE WHEN known.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL
                          ELSE greatest(known.expires_at, excluded.expires_at) END
$$;

-- Deletes revocations of tokens that have ended by themselves.
CREATE FUNCTION purge_revocations(p_now timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    DELETE FROM public.token_revocations WHERE expires_at <= least(p_now, clock_timestamp())
$$;
