-- A rebuild of payment_sessions compares each row with a fold of the session's events, and puts right those that differ
-- by this function. A row is left as it is where the log has gone on since it was folded, to a version that
-- p_versions does not name: the append moves it itself. Returns the sessions that were dealt with. p_rows is NULL where
-- no genuine event tells of a session, whose row is deleted.
CREATE FUNCTION mend_session_rows(p_session_ids uuid[], p_versions integer[], p_rows text[]) RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_id uuid;
    v_row payment_sessions;
    v_is_there boolean;
BEGIN
    IF cardinality(p_session_ids) NOT BETWEEN 1 AND 500 OR cardinality(p_versions) <> cardinality(p_session_ids)
       OR cardinality(p_rows) <> cardinality(p_session_ids) THEN
        RAISE EXCEPTION 'rows of 1 to 500 sessions are mended at once' USING ERRCODE = 'DF004';
    END IF;
    FOR i IN 1 .. cardinality(p_session_ids) LOOP
        v_id := p_session_ids[i];
        -- An append that holds the row is waited for, and seen by the next statement.
        PERFORM FROM payment_sessions WHERE session_id = v_id FOR UPDATE;
        v_is_there := FOUND;
        IF (SELECT coalesce(max(version), 0) FROM payment_events WHERE session_id = v_id) <> p_versions[i] THEN
            CONTINUE;
        END IF;
        IF p_rows[i] IS NULL THEN
            DELETE FROM payment_sessions WHERE session_id = v_id;
            RETURN NEXT v_id;
            CONTINUE;
        END IF;
        v_row := jsonb_populate_record(NULL::payment_sessions, p_rows[i]::jsonb);
        IF v_row.session_id IS DISTINCT FROM v_id OR v_row.version NOT BETWEEN 1 AND p_versions[i] THEN
            RAISE EXCEPTION 'the row is not one of session %', v_id USING ERRCODE = 'DF004';
        END IF;
        IF v_is_there THEN
            UPDATE payment_sessions SET
                user_id = v_row.user_id, session_status = v_row.session_status, version = v_row.version,
                goods_cents = v_row.goods_cents, delivery_fee_cents = v_row.delivery_fee_cents,
                rounding_cents = v_row.rounding_cents, total_cents = v_row.total_cents,
                received_cents = v_row.received_cents, refund_due_cents = v_row.refund_due_cents,
                refunded_cents = v_row.refunded_cents, attempts = v_row.attempts, open_attempts = v_row.open_attempts,
                last_attempt_state = v_row.last_attempt_state, transaction_id = v_row.transaction_id,
                receipt = v_row.receipt, evidence = v_row.evidence, failure_code = v_row.failure_code,
                failure_reason = v_row.failure_reason, order_id = v_row.order_id, order_number = v_row.order_number,
                created_at = v_row.created_at, expires_at = v_row.expires_at,
                last_requested_at = v_row.last_requested_at, initiated_at = v_row.initiated_at,
                paid_at = v_row.paid_at, order_created_at = v_row.order_created_at, ended_at = v_row.ended_at,
                updated_at = v_row.updated_at, county_id = v_row.county_id, subcounty_id = v_row.subcounty_id,
                reference_sealed = v_row.reference_sealed, shop = v_row.shop
            WHERE session_id = v_id;
            RETURN NEXT v_id;
        ELSE
            INSERT INTO payment_sessions SELECT (v_row).* ON CONFLICT (session_id) DO NOTHING;
            IF FOUND THEN
                RETURN NEXT v_id;
            END IF;
        END IF;
    END LOOP;
    -- Written where no login of the database reaches.
    RAISE LOG 'daftari: rows of payment_sessions were mended, % at most, the first of session %',
        cardinality(p_session_ids), p_session_ids[1];
END
$$;
COMMENT ON FUNCTION mend_session_rows IS
    'Puts rows of `payment_sessions` right, for a rebuild, unless their sessions have gone on meanwhile.';
