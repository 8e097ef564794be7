-- Events, format 2: each says what caused it, and carries a MAC that only a holder of the master key can make, so that
-- whoever may call append_events cannot make an event that is believed.
ALTER TABLE payment_events
    ADD COLUMN metadata jsonb,
    ADD COLUMN key_id integer,
    ADD COLUMN mac bytea;
COMMENT ON COLUMN payment_events.hash IS
    'SHA-256 of previous_hash and of the SHA-256 of the canonical JSON of [session_id, version, topic, state, metadata]; '
    'without metadata in events of format 1, which have none.';
COMMENT ON COLUMN payment_events.metadata IS 'What caused it, and who. NULL in events of format 1.';
COMMENT ON COLUMN payment_events.mac IS
    'HMAC-SHA256 over key_id and hash, by the key of that number for "event mac". NULL in events of format 1.';

-- What can be appended. An event class that is added later brings a row in a migration of its own.
CREATE TABLE event_topics (topic text PRIMARY KEY);
INSERT INTO event_topics (topic)
SELECT 'payment_session.' || name || '.v1' FROM unnest(ARRAY[
    'created', 'extended', 'payment_requested', 'payment_initiated', 'payment_refused', 'payment_uncertain',
    'attempt_failed', 'paid', 'receipt_recorded', 'evidence_upgraded', 'contradiction_found', 'contradiction_closed',
    'order_created', 'failed', 'expired', 'surplus_received', 'refund_due', 'refund_approved', 'refund_refused',
    'refund_requested', 'refund_accepted', 'refund_uncertain', 'refunded', 'refund_failed'
]) AS name;

-- Up to where events may lack a MAC: fixed here, and signed by the first process that holds the master key.
CREATE TABLE event_mac_starts (
    origin smallint PRIMARY KEY,
    last_position bigint NOT NULL,
    key_id integer,
    mac bytea
);
COMMENT ON TABLE event_mac_starts IS 'The position of the last event without a MAC, by origin; 0 if there never was one.';
INSERT INTO event_mac_starts (origin, last_position)
SELECT node.origin, coalesce((SELECT max(position) FROM payment_events WHERE origin = node.origin), 0)
FROM ledger_node AS node;

CREATE FUNCTION sign_event_mac_start(p_origin smallint, p_last_position bigint, p_key_id integer, p_mac bytea)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE event_mac_starts SET key_id = p_key_id, mac = p_mac
    WHERE origin = p_origin AND last_position = p_last_position AND mac IS NULL
$$;

-- The release before appends by this signature, or was just doing so when this migration took the lock. The code is
-- one that its driver takes for an outage, so that its callers get 503 and try again.
CREATE OR REPLACE FUNCTION append_events(
    p_session_id uuid, p_first_version integer, p_topics text[], p_states jsonb[], p_digests bytea[], p_row jsonb
) RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the database was migrated: restart this process on the new release' USING ERRCODE = '57DF1';
END
$$;
CREATE FUNCTION refuse_format_1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the database was migrated, and an event needs its metadata and its MAC: '
        'restart this process on the new release' USING ERRCODE = '57DF1';
END
$$;
CREATE TRIGGER payment_events_have_macs BEFORE INSERT ON payment_events FOR EACH ROW
    WHEN (new.metadata IS NULL OR new.key_id IS NULL OR new.mac IS NULL OR octet_length(new.mac) <> 32)
    EXECUTE FUNCTION refuse_format_1();

-- What lists and analysts need of a session that was created by format 2.
ALTER TABLE payment_sessions
    ADD COLUMN county_id integer,
    ADD COLUMN subcounty_id integer,
    ADD COLUMN reference_sealed text,
    ADD COLUMN shop text NOT NULL DEFAULT 'builtin';
ALTER TABLE payment_sessions ALTER COLUMN shop DROP DEFAULT;
COMMENT ON COLUMN payment_sessions.county_id IS 'Where to deliver; NULL if it is unknown, as in sessions of format 1.';
COMMENT ON COLUMN payment_sessions.reference_sealed IS 'The caller''s own reference, encrypted for the buyer.';
COMMENT ON COLUMN payment_sessions.shop IS 'Who makes the order: "builtin", "http" or "none".';

-- Appends events and moves the status row: one call, one commit. It computes the hashes itself, from the texts that are
-- stored, and compares them with those that the MACs are over. Raises DF001 where the version is taken or there is a
-- gap before it, DF004 for what is no append of this session. Uniqueness of ordinals holds for several calls in one
-- transaction too.
CREATE FUNCTION append_events(
    p_session_id uuid, p_first_version integer, p_topics text[], p_states text[], p_metadata text,
    p_hashes bytea[], p_key_id integer, p_macs bytea[], p_row jsonb
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_node ledger_node%ROWTYPE;
    v_base bigint;
    v_ordinal integer := coalesce(nullif(current_setting('daftari.ordinal', true), ''), '0')::integer;
    v_count integer := cardinality(p_topics);
    v_version integer := p_first_version;
    v_metadata jsonb := p_metadata::jsonb;
    v_previous bytea := decode(repeat('00', 32), 'hex');
    v_hash bytea;
BEGIN
    IF (p_first_version >= 1 AND v_count BETWEEN 1 AND 100 AND cardinality(p_states) = v_count
        AND cardinality(p_hashes) = v_count AND cardinality(p_macs) = v_count
        AND jsonb_typeof(v_metadata) = 'object' AND octet_length(p_metadata) <= 2000) IS NOT TRUE THEN
        RAISE EXCEPTION 'this is no append of 1 to 100 events with their metadata and MACs' USING ERRCODE = 'DF004';
    END IF;
    IF (p_row->>'session_id' = p_session_id::text AND p_row->>'version' = (p_first_version + v_count - 1)::text)
        IS NOT TRUE THEN
        RAISE EXCEPTION 'the status row is not that of session % at version %', p_session_id,
            p_first_version + v_count - 1 USING ERRCODE = 'DF004';
    END IF;
    IF (SELECT count(*) FROM unnest(p_topics) AS given (topic) JOIN event_topics USING (topic)) <> v_count THEN
        RAISE EXCEPTION 'there is no such event among %', p_topics USING ERRCODE = 'DF004';
    END IF;
    SELECT * INTO STRICT v_node FROM ledger_node;
    v_base := (v_node.epoch + pg_current_xact_id()::text::bigint) << 20;
    IF p_first_version > 1 THEN
        SELECT hash INTO v_previous FROM payment_events
        WHERE session_id = p_session_id AND version = p_first_version - 1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'version % of session % does not exist', p_first_version - 1, p_session_id
                USING ERRCODE = 'DF001';
        END IF;
    END IF;
    FOR i IN 1 .. v_count LOOP
        v_hash := sha256(v_previous || sha256(convert_to(
            '["' || p_session_id || '",' || v_version || ',"' || p_topics[i] || '",' || p_states[i] || ',' || p_metadata
            || ']', 'UTF8')));
        IF v_hash IS DISTINCT FROM p_hashes[i] THEN
            RAISE EXCEPTION 'the hash of version % of session % is not that of its content', v_version, p_session_id
                USING ERRCODE = 'DF004';
        END IF;
        INSERT INTO payment_events
            (session_id, version, topic, state, metadata, previous_hash, hash, key_id, mac, origin, position, recorded_at)
        VALUES (p_session_id, v_version, p_topics[i], p_states[i]::jsonb, v_metadata, v_previous, v_hash, p_key_id,
                p_macs[i], v_node.origin, v_base | v_ordinal, clock_timestamp())
        ON CONFLICT (session_id, version) DO NOTHING;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'version % of session % is taken', v_version, p_session_id USING ERRCODE = 'DF001';
        END IF;
        v_ordinal := v_ordinal + 1;
        v_version := v_version + 1;
        v_previous := v_hash;
    END LOOP;
    PERFORM set_config('daftari.ordinal', v_ordinal::text, true);
    INSERT INTO payment_sessions SELECT * FROM jsonb_populate_record(NULL::payment_sessions, p_row)
    ON CONFLICT (session_id) DO UPDATE SET
        session_status = excluded.session_status, version = excluded.version,
        received_cents = excluded.received_cents, refund_due_cents = excluded.refund_due_cents,
        refunded_cents = excluded.refunded_cents, attempts = excluded.attempts,
        open_attempts = excluded.open_attempts, last_attempt_state = excluded.last_attempt_state,
        transaction_id = excluded.transaction_id,
        receipt = excluded.receipt, evidence = excluded.evidence, failure_code = excluded.failure_code,
        failure_reason = excluded.failure_reason, order_id = excluded.order_id,
        order_number = excluded.order_number, expires_at = excluded.expires_at,
        last_requested_at = excluded.last_requested_at, initiated_at = excluded.initiated_at,
        paid_at = excluded.paid_at, order_created_at = excluded.order_created_at,
        ended_at = excluded.ended_at, updated_at = excluded.updated_at;
    RETURN v_base | (v_ordinal - 1);
END
$$;
