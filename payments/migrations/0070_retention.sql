-- What is kept for a time only, kind by kind. The application passes a period; no call deletes anything younger than the
-- minimum here, which only the owner of the tables can change, nor anything of a customer under a legal hold.
CREATE TABLE retention_kinds (
    kind text PRIMARY KEY,
    action text NOT NULL CHECK (action LIKE 'DELETE FROM public.%' OR action LIKE 'UPDATE public.%'),
    minimum interval NOT NULL CHECK (minimum >= interval '0'),
    purged_at timestamptz,
    purged_rows integer
);
COMMENT ON TABLE retention_kinds IS
    'The kinds of data that are kept for a time only: how long at least, and when something of them was last purged.';
COMMENT ON COLUMN retention_kinds.action IS 'How purge_kind deletes or empties rows of the kind.';
COMMENT ON COLUMN retention_kinds.minimum IS 'Nothing younger is ever purged, whatever the settings say.';
INSERT INTO retention_kinds (kind, action, minimum) VALUES
    ('phone_locks', 'DELETE FROM public.live_prompts', '0'),
    ('request_leases', 'DELETE FROM public.request_leases', '5 minutes'),
    ('kept_answers', 'DELETE FROM public.idempotency_keys', '24 hours'),
    ('query_log', 'DELETE FROM public.attempt_checks', '2 days'),
    ('refund_query_log', 'DELETE FROM public.refund_checks', '30 days'),
    ('order_failures', 'DELETE FROM public.order_failures', '30 days'),
    ('statement_uploads', 'DELETE FROM public.statement_uploads', '1 hour'),
    ('prompt_counts', 'DELETE FROM public.prompt_counts', '1 day'),
    ('counts_after_erasure', 'DELETE FROM public.prompt_counts', '0'),
    ('paid_numbers', 'DELETE FROM public.prompt_counts', '30 days'),
    ('revocations', 'DELETE FROM public.token_revocations', '0'),
    ('unauthenticated_messages', 'DELETE FROM public.daraja_inbox', '30 days'),
    ('authenticated_messages',
     'UPDATE public.daraja_inbox SET sealed_body = ''erased'', body_sha256 = '''', phone_digests = NULL', '1827 days'),
    ('payers', 'UPDATE public.mpesa_movements SET payer_digest = NULL, sealed_reference = NULL', '1827 days'),
    ('delivery_addresses', 'UPDATE public.shop_orders SET sealed_delivery_details = ''erased''', '90 days'),
    ('access_log', 'DELETE FROM public.audit_log', '1827 days'),
    ('verification_runs', 'DELETE FROM public.verification_runs', '1827 days'),
    ('customers', 'UPDATE public.customer_keys', '1827 days');

-- Who has the application's login can write an entry that lifts a legal hold; only its MAC, which the database cannot
-- check, tells it from a real one. So a lift counts here a week after it was stored: `daftari verify` names a forged one
-- before anything is gone. When an entry was stored is a time that no login can give.
ALTER TABLE audit_log ADD COLUMN stored_at timestamptz;
ALTER TABLE audit_log ALTER COLUMN stored_at SET DEFAULT clock_timestamp();
COMMENT ON COLUMN audit_log.stored_at IS 'When PostgreSQL stored the entry, by its own clock; null before this column.';
COMMENT ON COLUMN audit_log.mac IS
    'HMAC-SHA256 of the canonical JSON of all other columns but stored_at, under the key key_id for the purpose "audit log".';

-- A time that no process can read would keep `daftari verify` from naming the entry.
ALTER TABLE audit_log ADD CONSTRAINT audit_log_recorded_at_check
    CHECK (recorded_at BETWEEN '1900-01-01Z' AND '9000-01-01Z') NOT VALID;

CREATE FUNCTION user_of_subject(p_subject text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_subject ~ '^user:[0-9]{1,19}$' THEN
        CASE WHEN substr(p_subject, 6)::numeric <= 9223372036854775807 THEN substr(p_subject, 6)::bigint END END
$$;

CREATE INDEX audit_log_legal_holds ON audit_log (subject, recorded_at DESC)
    WHERE kind IN ('legal_hold_placed', 'legal_hold_lifted');
-- A hold stands from the moment it is placed, until a later lift has been stored for 7 days.
CREATE FUNCTION held_customers() RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    SELECT DISTINCT public.user_of_subject(placed.subject) FROM public.audit_log AS placed
    WHERE placed.kind = 'legal_hold_placed' AND public.user_of_subject(placed.subject) IS NOT NULL
      AND NOT EXISTS (
        SELECT FROM public.audit_log AS lifted
        WHERE lifted.kind = 'legal_hold_lifted' AND lifted.subject = placed.subject
          AND coalesce(lifted.stored_at, lifted.recorded_at) >= coalesce(placed.stored_at, placed.recorded_at)
          AND coalesce(lifted.stored_at, lifted.recorded_at) <= clock_timestamp() - interval '7 days')
$$;

CREATE FUNCTION refuse_to_erase_held() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.user_id IN (SELECT public.held_customers()) THEN
        RAISE EXCEPTION 'a legal hold stands against the erasure of user %', NEW.user_id USING ERRCODE = 'DF003';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER customer_erasures_heed_holds BEFORE INSERT ON customer_erasures
    FOR EACH ROW EXECUTE FUNCTION refuse_to_erase_held();

-- Decisions are kept for ever; that somebody read personal data may go after its minimum, and never before.
DROP TRIGGER audit_log_is_final ON audit_log;
CREATE TRIGGER audit_log_is_final BEFORE UPDATE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite();
CREATE TRIGGER audit_log_is_not_deleted BEFORE DELETE ON audit_log
    FOR EACH ROW WHEN (OLD.kind <> 'access' OR OLD.recorded_at > clock_timestamp() - interval '1827 days')
    EXECUTE FUNCTION refuse_to_rewrite();

-- Every row that may be purged one day: where it is, since when its period runs, and of which customer it is. The age of
-- evidence counts from a time that the application's role cannot change: when a message was received and when a movement
-- was first seen, if that is later than what the role may write (settled_at, happened_at).
CREATE VIEW retained_rows AS
SELECT 'phone_locks' AS kind, ctid AS place, live_until AS since, user_id FROM live_prompts
UNION ALL SELECT 'request_leases', ctid, minute, user_id FROM request_leases
UNION ALL SELECT 'kept_answers', ctid, created_at, user_id FROM idempotency_keys
UNION ALL SELECT 'query_log', ctid, next_check_at, NULL FROM attempt_checks
UNION ALL SELECT 'refund_query_log', ctid, asked_at, NULL FROM refund_checks
UNION ALL SELECT 'order_failures', ctid, last_failed_at, NULL FROM order_failures
UNION ALL SELECT 'prompt_counts', ctid, last_at, user_id FROM prompt_counts WHERE paid_at IS NULL
UNION ALL SELECT 'counts_after_erasure', count.ctid, destroyed_at, user_id
    FROM prompt_counts AS count JOIN customer_keys USING (user_id) WHERE destroyed_at IS NOT NULL
UNION ALL SELECT 'paid_numbers', ctid, last_at, user_id FROM prompt_counts WHERE paid_at IS NOT NULL
UNION ALL SELECT 'revocations', ctid, expires_at, user_id FROM token_revocations WHERE expires_at IS NOT NULL
UNION ALL SELECT 'unauthenticated_messages', ctid, received_at, NULL FROM daraja_inbox
    WHERE NOT is_proven AND session_id IS NULL AND state <> 'closed'
UNION ALL SELECT 'authenticated_messages', message.ctid, greatest(received_at, settled_at),
        coalesce(session.user_id, key_owner)
    FROM daraja_inbox AS message LEFT JOIN payment_sessions AS session USING (session_id)
    WHERE (is_proven OR session_id IS NOT NULL OR state = 'closed') AND state IN ('acted_on', 'closed')
      AND sealed_body <> 'erased'
UNION ALL SELECT 'payers', movement.ctid, greatest(first_seen_at, happened_at), session.user_id
    FROM mpesa_movements AS movement LEFT JOIN payment_sessions AS session USING (session_id)
    WHERE (payer_digest IS NOT NULL OR sealed_reference IS NOT NULL)
      AND (verdict NOT IN ('new', 'unknown') OR closed_at IS NOT NULL)
UNION ALL SELECT 'delivery_addresses', ctid, placed_at, user_id FROM shop_orders
    WHERE sealed_delivery_details <> 'erased'
UNION ALL SELECT 'access_log', entry.ctid, recorded_at,
        coalesce(session.user_id, user_of_subject(subject))
    FROM audit_log AS entry LEFT JOIN payment_sessions AS session
      ON session_id = CASE WHEN subject ~ '^session:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                           THEN substr(subject, 9)::uuid END
    WHERE kind = 'access'
UNION ALL SELECT 'verification_runs', ctid, finished_at, NULL FROM verification_runs
UNION ALL SELECT 'customers', key.ctid, coalesce(session.last_at, key.created_at), user_id
    FROM customer_keys AS key CROSS JOIN LATERAL (
        SELECT max(created_at) AS last_at FROM payment_sessions WHERE user_id = key.user_id) AS session
    WHERE wrapped_key IS NOT NULL
UNION ALL SELECT 'statement_uploads', ctid, started_at, NULL FROM statement_uploads;
COMMENT ON VIEW retained_rows IS 'The rows that purge_kind may purge, by kind. Customers are erased one by one instead.';

-- Purges rows of a kind whose period is over, some at a time; returns how many. No row is younger than the minimum of its
-- kind by the clock of the database, and none is of a customer under a legal hold.
CREATE FUNCTION purge_kind(p_kind text, p_now timestamptz, p_period interval, p_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_kind public.retention_kinds%ROWTYPE;
    v_until timestamptz;
    v_rows integer;
BEGIN
    SELECT * INTO v_kind FROM public.retention_kinds WHERE kind = p_kind AND kind <> 'customers';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no kind % of data to purge', p_kind USING ERRCODE = 'DF003';
    END IF;
    v_until := least(p_now, clock_timestamp()) - greatest(p_period, v_kind.minimum);
    EXECUTE format(
        '%s WHERE ctid = ANY (ARRAY(
             SELECT place FROM public.retained_rows
             WHERE kind = %L AND since <= $1 AND (user_id IS NULL OR user_id <> ALL ($2)) LIMIT $3))',
        v_kind.action, p_kind)
    USING v_until, ARRAY(SELECT public.held_customers()), least(p_most, 10000);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows > 0 THEN
        UPDATE public.retention_kinds SET purged_at = clock_timestamp(), purged_rows = v_rows WHERE kind = p_kind;
    END IF;
    RETURN v_rows;
END
$$;
