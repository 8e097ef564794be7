-- What inbox and phone locks bring to the one statement that a callback is written by.

-- Stores an authenticated callback that the same statement acts on, so that nobody has to act on it again. A message that
-- is there stays as it is: its statement is being repeated.
CREATE FUNCTION store_settled_message(
    p_inbox_id uuid, p_received_at timestamptz, p_channel text, p_session_id uuid, p_attempt integer, p_key_owner bigint,
    p_sealed_body text, p_body_bytes integer, p_body_sha256 text, p_reason text, p_settled_at timestamptz
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO daraja_inbox (inbox_id, received_at, channel, is_proven, session_id, attempt, key_owner, sealed_body,
                              body_bytes, body_sha256, state, reason, tries, settled_at)
    VALUES (p_inbox_id, p_received_at, p_channel, true, p_session_id, p_attempt, p_key_owner, p_sealed_body,
            p_body_bytes, p_body_sha256, 'acted_on', p_reason, 0, p_settled_at)
    ON CONFLICT (inbox_id) DO NOTHING;
    RETURN FOUND;
END
$$;

-- Releases the phone lock of an attempt and counts how its prompt ended: 'paid', 'unpaid' or 'not_sent'. Returns whether
-- there was one: the phone may be locked for another attempt by now.
CREATE FUNCTION release_phone_lock(p_session_id uuid, p_transaction_id bigint, p_outcome text, p_now timestamptz)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_released record;
BEGIN
    DELETE FROM live_prompts WHERE session_id = p_session_id AND transaction_id = p_transaction_id
    RETURNING user_id, phone_digest INTO v_released;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE prompt_counts SET
        prompts_in_hour = CASE p_outcome WHEN 'paid' THEN 0 WHEN 'not_sent' THEN greatest(prompts_in_hour - 1, 0)
                                         ELSE prompts_in_hour END,
        unpaid_in_row = CASE p_outcome WHEN 'paid' THEN 0 WHEN 'not_sent' THEN greatest(unpaid_in_row - 1, 0)
                                       ELSE unpaid_in_row END,
        last_at = CASE p_outcome WHEN 'not_sent' THEN last_at ELSE p_now END,
        paid_at = CASE p_outcome WHEN 'paid' THEN p_now ELSE paid_at END
    WHERE user_id = v_released.user_id AND phone_digest = v_released.phone_digest;
    RETURN true;
END
$$;
