-- As acquire_phone_lock, for a transaction whose id is known before, in the statement that records the attempt: a refusal
-- raises DF006, with why in its message and until when in its detail, so that nothing of that statement stays.
CREATE FUNCTION lock_phone(
    p_user bigint, p_phone text, p_session uuid, p_transaction bigint, p_now timestamptz, p_until timestamptz,
    p_prompts_an_hour integer,
    p_numbers_a_day integer, p_prompts_a_number integer, p_pauses interval[]
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_reason text;
    v_retry_at timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(229_345_057, hashint8(p_user));
    SELECT refusal.reason, refusal.retry_at INTO v_reason, v_retry_at
    FROM prompt_refusal(p_user, p_phone, p_session, p_now, p_prompts_an_hour, p_numbers_a_day, p_prompts_a_number,
                        p_pauses) AS refusal;
    IF v_reason IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'DF006', MESSAGE = v_reason, DETAIL = v_retry_at::text;
    END IF;
    INSERT INTO live_prompts AS held (phone_digest, session_id, live_until, transaction_id, user_id)
    VALUES (p_phone, p_session, p_until, p_transaction, p_user)
    ON CONFLICT (phone_digest) DO UPDATE SET session_id = excluded.session_id, live_until = excluded.live_until,
        transaction_id = excluded.transaction_id, user_id = excluded.user_id
        WHERE held.live_until <= p_now OR held.session_id = excluded.session_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'DF006', MESSAGE = 'phone_busy', DETAIL = p_until::text;
    END IF;
    INSERT INTO prompt_counts AS counted
        (user_id, phone_digest, hour_began_at, prompts_in_hour, unpaid_in_row, last_at, paid_at)
    VALUES (p_user, p_phone, p_now, 1, 1, p_now, NULL)
    ON CONFLICT (user_id, phone_digest) DO UPDATE SET
        hour_began_at = CASE WHEN counted.hour_began_at > p_now - interval '1 hour'
                             THEN counted.hour_began_at ELSE p_now END,
        prompts_in_hour = CASE WHEN counted.hour_began_at > p_now - interval '1 hour'
                               THEN counted.prompts_in_hour ELSE 0 END + 1,
        unpaid_in_row = CASE WHEN counted.last_at > p_now - interval '1 day'
                             THEN counted.unpaid_in_row ELSE 0 END + 1,
        last_at = p_now;
    RETURN true;
END
$$;

-- A process from before this migration locks a phone by this function and cannot append any more: the lock would stay.
-- The code is one that it takes for an outage.
CREATE OR REPLACE FUNCTION acquire_phone_lock(
    p_user bigint, p_phone text, p_session uuid, p_now timestamptz, p_until timestamptz, p_prompts_an_hour integer,
    p_numbers_a_day integer, p_prompts_a_number integer, p_pauses interval[],
    OUT transaction_id bigint, OUT reason text, OUT retry_at timestamptz
) LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the database was migrated: restart this process on the new release' USING ERRCODE = '57DF1';
END
$$;
