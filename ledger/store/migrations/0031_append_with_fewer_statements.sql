-- Each statement inside the function costs a start and an end of the executor. What it needs to know is read by one, and
-- a row that is there is updated: an upsert locks it first, which is a record of its own in the write-ahead log. What is
-- refused, and what is stored, is as before.
--
-- Appends events and moves the status row: one call, one commit. It computes the hashes itself, from the texts that are
-- stored, and compares them with those that the MACs are over. Raises DF001 where the version is taken or there is a
-- gap before it, DF004 for what is no append of this session. Uniqueness of ordinals holds for several calls in one
-- transaction too.
CREATE OR REPLACE FUNCTION append_events(
    p_session_id uuid, p_first_version integer, p_topics text[], p_states text[], p_metadata text[],
    p_hashes bytea[], p_key_id integer, p_macs bytea[], p_row jsonb
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_origin smallint;
    v_base bigint;
    v_are_known boolean;
    v_ordinal integer := coalesce(nullif(current_setting('daftari.ordinal', true), ''), '0')::integer;
    v_set text;
    v_count integer := cardinality(p_topics);
    v_version integer := p_first_version;
    v_metadata jsonb;
    v_previous bytea;
    v_hash bytea;
BEGIN
    IF (p_first_version >= 1 AND v_count BETWEEN 1 AND 100 AND cardinality(p_states) = v_count
        AND cardinality(p_hashes) = v_count AND cardinality(p_macs) = v_count
        AND cardinality(p_metadata) = v_count) IS NOT TRUE THEN
        RAISE EXCEPTION 'this is no append of 1 to 100 events with their metadata and MACs' USING ERRCODE = 'DF004';
    END IF;
    IF (p_row->>'session_id' = p_session_id::text AND p_row->>'version' = (p_first_version + v_count - 1)::text)
        IS NOT TRUE THEN
        RAISE EXCEPTION 'the status row is not that of session % at version %', p_session_id,
            p_first_version + v_count - 1 USING ERRCODE = 'DF004';
    END IF;
    SELECT node.origin, (node.epoch + pg_current_xact_id()::text::bigint) << 20,
           p_topics <@ ARRAY(SELECT topic FROM event_topics),
           CASE WHEN p_first_version = 1 THEN decode(repeat('00', 32), 'hex') ELSE (
               SELECT hash FROM payment_events WHERE session_id = p_session_id AND version = p_first_version - 1
           ) END
    INTO STRICT v_origin, v_base, v_are_known, v_previous FROM ledger_node AS node;
    IF v_are_known IS NOT TRUE THEN
        RAISE EXCEPTION 'there is no such event among %', p_topics USING ERRCODE = 'DF004';
    END IF;
    IF v_previous IS NULL THEN
        RAISE EXCEPTION 'version % of session % does not exist', p_first_version - 1, p_session_id
            USING ERRCODE = 'DF001';
    END IF;
    FOR i IN 1 .. v_count LOOP
        v_metadata := p_metadata[i]::jsonb;
        IF (jsonb_typeof(v_metadata) = 'object' AND octet_length(p_metadata[i]) <= 2000) IS NOT TRUE THEN
            RAISE EXCEPTION 'version % of session % has no metadata', v_version, p_session_id USING ERRCODE = 'DF004';
        END IF;
        v_hash := sha256(v_previous || sha256(convert_to(
            '["' || p_session_id || '",' || v_version || ',"' || p_topics[i] || '",' || p_states[i] || ',' || p_metadata[i]
            || ']', 'UTF8')));
        IF v_hash IS DISTINCT FROM p_hashes[i] THEN
            RAISE EXCEPTION 'the hash of version % of session % is not that of its content', v_version, p_session_id
                USING ERRCODE = 'DF004';
        END IF;
        INSERT INTO payment_events
            (session_id, version, topic, state, metadata, previous_hash, hash, key_id, mac, origin, position, recorded_at)
        VALUES (p_session_id, v_version, p_topics[i], p_states[i]::jsonb, v_metadata, v_previous, v_hash, p_key_id,
                p_macs[i], v_origin, v_base | v_ordinal, clock_timestamp())
        ON CONFLICT (session_id, version) DO NOTHING;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'version % of session % is taken', v_version, p_session_id USING ERRCODE = 'DF001';
        END IF;
        v_ordinal := v_ordinal + 1;
        v_version := v_version + 1;
        v_previous := v_hash;
    END LOOP;
    -- An assignment calls the function itself, where PERFORM would run a statement.
    v_set := set_config('daftari.ordinal', v_ordinal::text, true);
    IF p_first_version > 1 THEN
        UPDATE payment_sessions SET
            session_status = p_row->>'session_status', version = (p_row->>'version')::integer,
            received_cents = (p_row->>'received_cents')::bigint, refund_due_cents = (p_row->>'refund_due_cents')::bigint,
            refunded_cents = (p_row->>'refunded_cents')::bigint, attempts = (p_row->>'attempts')::integer,
            open_attempts = (p_row->>'open_attempts')::integer, last_attempt_state = p_row->>'last_attempt_state',
            transaction_id = (p_row->>'transaction_id')::bigint,
            receipt = p_row->>'receipt', evidence = p_row->>'evidence', failure_code = p_row->>'failure_code',
            failure_reason = p_row->>'failure_reason', order_id = (p_row->>'order_id')::bigint,
            order_number = p_row->>'order_number', expires_at = (p_row->>'expires_at')::timestamptz,
            last_requested_at = (p_row->>'last_requested_at')::timestamptz,
            initiated_at = (p_row->>'initiated_at')::timestamptz, paid_at = (p_row->>'paid_at')::timestamptz,
            order_created_at = (p_row->>'order_created_at')::timestamptz,
            ended_at = (p_row->>'ended_at')::timestamptz, updated_at = (p_row->>'updated_at')::timestamptz
        WHERE session_id = p_session_id;
    END IF;
    IF p_first_version = 1 OR NOT FOUND THEN
        INSERT INTO payment_sessions SELECT * FROM jsonb_populate_record(NULL::payment_sessions, p_row);
    END IF;
    RETURN v_base | (v_ordinal - 1);
END
$$;
