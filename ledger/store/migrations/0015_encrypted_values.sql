-- Encrypted values of version 2 are bound to their owner, their purpose and their row; a customer's key names the key of
-- the ring that wraps it.
ALTER TABLE customer_keys ADD COLUMN wrap_key_id integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN customer_keys.wrap_key_id IS 'The key of the ring, for the purpose "customer keys", that wraps this one.';
CREATE INDEX customer_keys_destroyed ON customer_keys (destroyed_at) WHERE destroyed_at IS NOT NULL;

-- What was encrypted anew. Once a table is done, values of version 1 in it are refused.
CREATE TABLE reencrypted_tables (
    name text PRIMARY KEY,
    done_at timestamptz NOT NULL
);

-- Messages outside of a customer's key are found by the phones that they name. Those of a person who was erased while
-- they still had to be acted on are emptied when they are settled.
ALTER TABLE daraja_inbox
    ADD COLUMN phone_digests text[],
    ADD COLUMN erase_when_settled boolean NOT NULL DEFAULT false;
CREATE INDEX daraja_inbox_phones ON daraja_inbox USING gin (phone_digests);
COMMENT ON COLUMN daraja_inbox.phone_digests IS 'Blind indexes of the phones in a body that no customer''s key encrypts.';

CREATE FUNCTION empty_erased_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.erase_when_settled AND NEW.state IN ('acted_on', 'closed') THEN
        NEW.sealed_body := 'erased';
        NEW.body_sha256 := '';
        NEW.phone_digests := NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER daraja_inbox_erased BEFORE UPDATE ON daraja_inbox
    FOR EACH ROW WHEN (NEW.erase_when_settled) EXECUTE FUNCTION empty_erased_message();

-- Destroys a customer's key, and deletes or empties what else points at the person: kept answers, phone locks, carts,
-- what a payer typed, messages by customer and by phone. Sums, receipts and hashes stay.
CREATE FUNCTION erase_customer(p_user_id bigint, p_phone_digests text[]) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_sessions uuid[] := ARRAY(SELECT session_id FROM public.payment_sessions WHERE user_id = p_user_id);
    v_keys integer; v_answers integer; v_locks integer; v_typed integer; v_messages integer;
BEGIN
    UPDATE public.customer_keys SET wrapped_key = NULL, destroyed_at = clock_timestamp()
    WHERE user_id = p_user_id AND wrapped_key IS NOT NULL;
    GET DIAGNOSTICS v_keys = ROW_COUNT;
    DELETE FROM public.idempotency_keys WHERE user_id = p_user_id;
    GET DIAGNOSTICS v_answers = ROW_COUNT;
    DELETE FROM public.live_prompts WHERE session_id = ANY (v_sessions) OR phone_digest = ANY (p_phone_digests);
    GET DIAGNOSTICS v_locks = ROW_COUNT;
    DELETE FROM public.prompt_counts WHERE user_id = p_user_id;
    DELETE FROM public.shop_cart_items WHERE user_id = p_user_id;
    UPDATE public.mpesa_movements SET sealed_reference = NULL
    WHERE session_id = ANY (v_sessions) AND sealed_reference IS NOT NULL;
    GET DIAGNOSTICS v_typed = ROW_COUNT;
    UPDATE public.daraja_inbox SET erase_when_settled = true
    WHERE NOT erase_when_settled AND (key_owner = p_user_id OR session_id = ANY (v_sessions)
          OR (cardinality(p_phone_digests) > 0 AND phone_digests && p_phone_digests));
    GET DIAGNOSTICS v_messages = ROW_COUNT;
    RETURN jsonb_build_object('keys', v_keys, 'kept_answers', v_answers, 'phone_locks', v_locks,
                              'typed_references', v_typed, 'messages', v_messages);
END
$$;
