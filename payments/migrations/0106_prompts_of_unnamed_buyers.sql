-- The prompts of all buyers whom nobody named are counted for their number, under a user below 0. They are not one person:
-- that one of them paid from it makes no other its own user, whom pauses and limits do not hold.
CREATE OR REPLACE FUNCTION release_phone_lock(p_session_id uuid, p_transaction_id bigint, p_outcome text, p_now timestamptz)
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
        paid_at = CASE WHEN p_outcome = 'paid' AND user_id > 0 THEN p_now ELSE paid_at END
    WHERE user_id = v_released.user_id AND phone_digest = v_released.phone_digest;
    RETURN true;
END
$$;
