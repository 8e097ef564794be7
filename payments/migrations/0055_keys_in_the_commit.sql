-- What idempotency keys bring to the statement of a command.

-- Claims a key for a request until a moment, or, with a status, stores the answer to the request at once. A claim that
-- has lapsed is taken over by the same request; any other row of the key raises DF008, so that nothing of the statement
-- stays.
CREATE FUNCTION claim_idempotency_key(
    p_user bigint, p_key text, p_fingerprint text, p_now timestamptz, p_until timestamptz, p_status integer,
    p_sealed_body text
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO idempotency_keys AS held (user_id, key, fingerprint, claimed_until, status, sealed_body, created_at)
    VALUES (p_user, p_key, p_fingerprint, p_until, p_status, p_sealed_body, p_now)
    ON CONFLICT (user_id, key) DO UPDATE SET claimed_until = excluded.claimed_until, status = excluded.status,
        sealed_body = excluded.sealed_body
        WHERE held.status IS NULL AND held.claimed_until <= p_now AND held.fingerprint = excluded.fingerprint;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'DF008', MESSAGE = 'the idempotency key is taken';
    END IF;
    RETURN true;
END
$$;

-- Stores the answer to the request that claimed a key until a moment; returns whether it still holds the claim.
CREATE FUNCTION answer_idempotency_key(
    p_user bigint, p_key text, p_claimed_until timestamptz, p_status integer, p_sealed_body text
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE idempotency_keys SET status = p_status, sealed_body = p_sealed_body, claimed_until = NULL
    WHERE user_id = p_user AND key = p_key AND claimed_until = p_claimed_until;
    RETURN FOUND;
END
$$;
