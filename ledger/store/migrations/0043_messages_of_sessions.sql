-- A message whose URL names no session, such as a C2B notice, may name its payer only by a masked number and a first
-- name. What leads from it to a session is the event that it caused; of one that caused none, it is kept here.
ALTER TABLE daraja_inbox ADD COLUMN about_session uuid;
COMMENT ON COLUMN daraja_inbox.about_session IS
    'The session that a message turned out to be about, where its URL names none and no event names it as its source.';

CREATE VIEW session_messages AS
SELECT session_id, CASE WHEN metadata->>'source' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                   THEN (metadata->>'source')::uuid END AS inbox_id
FROM payment_events
UNION ALL SELECT about_session, inbox_id FROM daraja_inbox WHERE about_session IS NOT NULL;
COMMENT ON VIEW session_messages IS 'The messages that turned out to be about a session: the sources of its events, and '
    'those that changed nothing. inbox_id is NULL for an event that no message caused.';

-- Destroys a customer's key, so that none is ever made again, and deletes or empties what else points at the person:
-- kept answers, phone locks, counts of prompts, carts, what a payer typed and who paid, messages by customer, by phone
-- and by the events that they caused. Sums, receipts and hashes stay.
CREATE OR REPLACE FUNCTION erase_customer(p_user_id bigint, p_phone_digests text[]) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_sessions uuid[] := ARRAY(SELECT session_id FROM public.payment_sessions WHERE user_id = p_user_id);
    v_sources uuid[];
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
    v_sources := ARRAY(SELECT inbox_id FROM public.session_messages WHERE session_id = ANY (v_sessions));
    UPDATE public.daraja_inbox SET erase_when_settled = true
    WHERE NOT erase_when_settled AND (key_owner = p_user_id OR session_id = ANY (v_sessions)
          OR (session_id IS NULL AND inbox_id = ANY (v_sources))
          OR (cardinality(p_phone_digests) > 0 AND phone_digests && p_phone_digests));
    GET DIAGNOSTICS v_messages = ROW_COUNT;
    RETURN jsonb_build_object('keys', v_keys, 'kept_answers', v_answers, 'phone_locks', v_locks,
                              'prompt_counts', v_counts, 'movements', v_movements, 'messages', v_messages);
END
$$;

-- A message that names no session turns out to be about one: where that is of an erased customer, it is emptied when it
-- is settled; where no event says so, the session is kept with it. Only one that still has to be acted on can be marked.
CREATE OR REPLACE FUNCTION mark_message_of_erased(p_inbox_id uuid, p_session_id uuid) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE public.daraja_inbox AS message
    SET about_session = p_session_id, erase_when_settled = message.erase_when_settled OR owner.is_erased
    FROM (SELECT EXISTS (SELECT FROM public.payment_sessions JOIN public.customer_keys USING (user_id)
                         WHERE session_id = p_session_id AND destroyed_at IS NOT NULL) AS is_erased) AS owner
    WHERE message.inbox_id = p_inbox_id AND message.state = 'new' AND (owner.is_erased OR NOT EXISTS (
        SELECT FROM public.session_messages AS known
        WHERE known.session_id = p_session_id AND known.inbox_id = p_inbox_id))
    RETURNING message.inbox_id
$$;

-- What the erasures until now left readable.
UPDATE daraja_inbox SET erase_when_settled = true
WHERE NOT erase_when_settled AND session_id IS NULL AND inbox_id = ANY (ARRAY(
    SELECT known.inbox_id FROM payment_sessions AS session JOIN session_messages AS known USING (session_id)
    WHERE session.user_id IN (SELECT user_id FROM customer_erasures WHERE login IS NOT NULL)));
