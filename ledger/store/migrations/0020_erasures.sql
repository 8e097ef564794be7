-- Each call of erase_customer leaves a row that nothing else writes: `daftari verify` looks for the signed entry of the
-- audit log that belongs to it.
CREATE TABLE customer_erasures (
    erasure_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL,
    erased_at timestamptz NOT NULL,
    login text
);
CREATE INDEX customer_erasures_user ON customer_erasures (user_id);
COMMENT ON TABLE customer_erasures IS
    'Each erasure of a customer, written by erase_customer alone. A signed entry of the audit log has to belong to it.';
COMMENT ON COLUMN customer_erasures.login IS
    'The login of the database that called erase_customer; NULL for an erasure from before this table.';
INSERT INTO customer_erasures (user_id, erased_at)
SELECT user_id, destroyed_at FROM customer_keys WHERE destroyed_at IS NOT NULL ORDER BY destroyed_at;

CREATE TRIGGER customer_erasures_are_final BEFORE UPDATE OR DELETE ON customer_erasures
    FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite();
CREATE TRIGGER customer_erasures_are_kept BEFORE TRUNCATE ON customer_erasures
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite();

-- Destroys a customer's key, so that none is ever made again, and deletes or empties what else points at the person:
-- kept answers, phone locks, counts of prompts, carts, what a payer typed and who paid, messages by customer and by
-- phone. Sums, receipts and hashes stay.
CREATE OR REPLACE FUNCTION erase_customer(p_user_id bigint, p_phone_digests text[]) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_sessions uuid[] := ARRAY(SELECT session_id FROM public.payment_sessions WHERE user_id = p_user_id);
    v_keys integer; v_answers integer; v_locks integer; v_counts integer; v_movements integer; v_messages integer;
BEGIN
    INSERT INTO public.customer_erasures (user_id, erased_at, login)
    VALUES (p_user_id, clock_timestamp(), session_user);
    INSERT INTO public.customer_keys AS known (user_id, created_at, destroyed_at)
    VALUES (p_user_id, clock_timestamp(), clock_timestamp())
    ON CONFLICT (user_id) DO UPDATE SET wrapped_key = NULL, destroyed_at = clock_timestamp()
        WHERE known.wrapped_key IS NOT NULL;
    GET DIAGNOSTICS v_keys = ROW_COUNT;
    DELETE FROM public.idempotency_keys WHERE user_id = p_user_id;
    GET DIAGNOSTICS v_answers = ROW_COUNT;
    DELETE FROM public.live_prompts
    WHERE user_id = p_user_id OR session_id = ANY (v_sessions) OR phone_digest = ANY (p_phone_digests);
    GET DIAGNOSTICS v_locks = ROW_COUNT;
    -- Another user who has paid from the number shares it: the count is theirs too.
    DELETE FROM public.prompt_counts
    WHERE user_id = p_user_id OR (phone_digest = ANY (p_phone_digests) AND paid_at IS NULL);
    GET DIAGNOSTICS v_counts = ROW_COUNT;
    DELETE FROM public.shop_cart_items WHERE user_id = p_user_id;
    UPDATE public.mpesa_movements SET sealed_reference = NULL, payer_digest = NULL
    WHERE (session_id = ANY (v_sessions) OR payer_digest = ANY (p_phone_digests))
      AND (sealed_reference IS NOT NULL OR payer_digest IS NOT NULL);
    GET DIAGNOSTICS v_movements = ROW_COUNT;
    UPDATE public.daraja_inbox SET erase_when_settled = true
    WHERE NOT erase_when_settled AND (key_owner = p_user_id OR session_id = ANY (v_sessions)
          OR (cardinality(p_phone_digests) > 0 AND phone_digests && p_phone_digests));
    GET DIAGNOSTICS v_messages = ROW_COUNT;
    RETURN jsonb_build_object('keys', v_keys, 'kept_answers', v_answers, 'phone_locks', v_locks,
                              'prompt_counts', v_counts, 'movements', v_movements, 'messages', v_messages);
END
$$;

-- A message that names no session, such as a C2B notice, turns out to be about a session of an erased customer: it is
-- emptied when it is settled. Only one that still has to be acted on can be marked.
CREATE FUNCTION mark_message_of_erased(p_inbox_id uuid, p_session_id uuid) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE public.daraja_inbox SET erase_when_settled = true
    WHERE inbox_id = p_inbox_id AND state = 'new' AND EXISTS (
        SELECT FROM public.payment_sessions JOIN public.customer_keys USING (user_id)
        WHERE session_id = p_session_id AND destroyed_at IS NOT NULL)
    RETURNING inbox_id
$$;
