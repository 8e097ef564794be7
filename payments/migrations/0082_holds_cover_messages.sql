-- A legal hold covers messages that turned out to be about a session of the customer, too, such as C2B notices, whose URL
-- names none: they are the customer's by session_messages alone. Of which customer a row is, is looked up row by row: joined
-- otherwise, all sessions are read for a few rows.
CREATE OR REPLACE FUNCTION purge_kind(p_kind text, p_now timestamptz, p_period interval, p_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    v_kind public.retention_kinds%ROWTYPE;
    v_until timestamptz;
    v_held bigint[] := ARRAY(SELECT public.held_customers());
    v_but text := '';
    v_messages uuid[];
    v_rows integer;
BEGIN
    SELECT * INTO v_kind FROM public.retention_kinds WHERE kind = p_kind AND kind <> 'customers';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no kind % of data to purge', p_kind USING ERRCODE = 'DF003';
    END IF;
    IF v_kind.action LIKE '% public.daraja\_inbox%' AND cardinality(v_held) > 0 THEN
        v_messages := ARRAY(
            SELECT inbox_id FROM public.session_messages
            WHERE inbox_id IS NOT NULL AND session_id = ANY (ARRAY(
                SELECT session_id FROM public.payment_sessions WHERE user_id = ANY (v_held))));
        v_but := 'AND place <> ALL (ARRAY(SELECT ctid FROM public.daraja_inbox WHERE inbox_id = ANY ($4)))';
    END IF;
    v_until := least(p_now, clock_timestamp()) - greatest(p_period, v_kind.minimum);
    EXECUTE format(
        '%s WHERE ctid = ANY (ARRAY(
             SELECT place FROM public.retained_rows
             WHERE kind = %L AND since <= $1 AND (user_id IS NULL OR user_id <> ALL ($2)) %s LIMIT $3))',
        v_kind.action, p_kind, v_but)
    USING v_until, v_held, least(p_most, 10000), v_messages;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows > 0 THEN
        UPDATE public.retention_kinds SET purged_at = clock_timestamp(), purged_rows = v_rows WHERE kind = p_kind;
    END IF;
    RETURN v_rows;
END
$$;
