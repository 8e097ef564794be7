-- How often each user prompted each number: prompts are limited by user and by number, in all processes together.
-- A user who has paid from a number is its own user: strangers' prompts never count against them.
CREATE TABLE prompt_counts (
    user_id bigint NOT NULL,
    phone_digest text NOT NULL,
    hour_began_at timestamptz NOT NULL,
    prompts_in_hour integer NOT NULL,
    unpaid_in_row integer NOT NULL,
    last_at timestamptz NOT NULL,
    paid_at timestamptz,
    PRIMARY KEY (user_id, phone_digest)
);
CREATE INDEX prompt_counts_phone ON prompt_counts (phone_digest);
CREATE INDEX prompt_counts_unpaid ON prompt_counts (last_at) WHERE paid_at IS NULL;
COMMENT ON TABLE prompt_counts IS
    'Prompts by user and number. What was paid, or never sent, does not count. Rows without a payment are kept for a day.';
COMMENT ON COLUMN prompt_counts.phone_digest IS 'Keyed digest of the phone number, as in live_prompts.';
COMMENT ON COLUMN prompt_counts.hour_began_at IS 'When the hour that prompts_in_hour counts began.';
COMMENT ON COLUMN prompt_counts.prompts_in_hour IS 'Prompts of that hour that were sent and not paid.';
COMMENT ON COLUMN prompt_counts.unpaid_in_row IS
    'Prompts sent since the last payment or the last quiet day: each makes the next pause longer.';
COMMENT ON COLUMN prompt_counts.last_at IS 'When the last prompt was sent, or ended without payment.';
COMMENT ON COLUMN prompt_counts.paid_at IS 'When the user last paid from this number; NULL if never.';

ALTER TABLE live_prompts ADD COLUMN user_id bigint;
COMMENT ON COLUMN live_prompts.user_id IS
    'Who asked for the prompt. NULL in rows from before this column, which are over in minutes.';

-- Why a user may not prompt a number now, and until when; no row if they may. p_pauses[n] follows the nth prompt
-- without payment, the first of which is let off if the user prompts no other number and nobody else pays from this one:
-- so does a buyer who mistypes the PIN, or touches Cancel. While the session holds the lock, the session itself says whether its prompt is over. The longest
-- pause wins.
CREATE FUNCTION prompt_refusal(
    p_user bigint, p_phone text, p_session uuid, p_now timestamptz, p_prompts_an_hour integer,
    p_numbers_a_day integer, p_prompts_a_number integer, p_pauses interval[]
) RETURNS TABLE (reason text, retry_at timestamptz) LANGUAGE sql STABLE AS $$
    WITH mine AS (
        SELECT * FROM prompt_counts
        WHERE user_id = p_user AND (phone_digest = p_phone OR last_at > p_now - interval '1 day')
    ),
    own AS (SELECT EXISTS (SELECT FROM mine WHERE phone_digest = p_phone AND paid_at IS NOT NULL) AS is_own),
    others AS (
        SELECT * FROM prompt_counts
        WHERE phone_digest = p_phone AND paid_at IS NULL AND last_at > p_now - interval '1 day'
    ),
    owned AS (
        SELECT EXISTS (SELECT FROM prompt_counts WHERE phone_digest = p_phone AND paid_at IS NOT NULL) AS is_owned
    ),
    refusals (reason, retry_at) AS (
        SELECT 'phone_busy', live_until FROM live_prompts
        WHERE phone_digest = p_phone AND live_until > p_now AND session_id <> p_session
        UNION ALL
        SELECT 'prompts_an_hour', min(hour_began_at) + interval '1 hour' FROM mine
        WHERE hour_began_at > p_now - interval '1 hour' HAVING sum(prompts_in_hour) >= p_prompts_an_hour
        UNION ALL
        SELECT 'numbers_a_day', min(last_at) + interval '1 day' FROM mine, own
        WHERE NOT is_own AND paid_at IS NULL AND unpaid_in_row > 0 AND phone_digest <> p_phone
        HAVING count(*) >= p_numbers_a_day
        UNION ALL
        SELECT 'unpaid', last_at + p_pauses[least(prompts, cardinality(p_pauses))::integer]
        FROM (
            SELECT max(last_at) AS last_at, sum(unpaid_in_row)
                   - (NOT bool_or(is_owned) AND NOT EXISTS (
                         SELECT FROM mine WHERE phone_digest <> p_phone AND paid_at IS NULL AND unpaid_in_row > 0
                     ))::integer AS prompts
            FROM others, own, owned WHERE NOT is_own AND unpaid_in_row > 0 AND (user_id = p_user OR is_owned)
        ) AS unpaid
        WHERE prompts > 0
            AND NOT EXISTS (SELECT FROM live_prompts AS held WHERE held.phone_digest = p_phone
                            AND held.session_id = p_session AND held.live_until > p_now)
        UNION ALL
        SELECT 'prompts_a_number', min(hour_began_at) + interval '1 hour' FROM others, own
        WHERE NOT is_own AND hour_began_at > p_now - interval '1 hour'
        HAVING sum(prompts_in_hour) >= p_prompts_a_number AND bool_or(user_id = p_user AND prompts_in_hour > 0)
    )
    SELECT refusals.reason, refusals.retry_at FROM refusals WHERE refusals.retry_at > p_now
    ORDER BY refusals.retry_at DESC LIMIT 1
$$;

-- Locks a phone for a session's next prompt and counts it, or says why not. One user's calls take turns, so that two
-- at once cannot both be the last that is allowed.
CREATE FUNCTION acquire_phone_lock(
    p_user bigint, p_phone text, p_session uuid, p_now timestamptz, p_until timestamptz, p_prompts_an_hour integer,
    p_numbers_a_day integer, p_prompts_a_number integer, p_pauses interval[],
    OUT transaction_id bigint, OUT reason text, OUT retry_at timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(229_345_057, hashint8(p_user));
    SELECT refusal.reason, refusal.retry_at INTO reason, retry_at
    FROM prompt_refusal(p_user, p_phone, p_session, p_now, p_prompts_an_hour, p_numbers_a_day, p_prompts_a_number,
                        p_pauses) AS refusal;
    IF reason IS NOT NULL THEN
        RETURN;
    END IF;
    INSERT INTO live_prompts AS held (phone_digest, session_id, live_until, transaction_id, user_id)
    VALUES (p_phone, p_session, p_until, nextval('payment_transaction_ids'), p_user)
    ON CONFLICT (phone_digest) DO UPDATE SET session_id = excluded.session_id, live_until = excluded.live_until,
        transaction_id = excluded.transaction_id, user_id = excluded.user_id
        WHERE held.live_until <= p_now OR held.session_id = excluded.session_id
    RETURNING held.transaction_id INTO transaction_id;
    IF NOT FOUND THEN
        reason := 'phone_busy';
        retry_at := p_until;
        RETURN;
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
END
$$;
