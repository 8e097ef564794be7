-- The log: every fact about a payment session, in the order of its versions, never rewritten.

CREATE TABLE ledger_node (
    only_row boolean PRIMARY KEY CHECK (only_row),
    origin smallint NOT NULL,
    epoch bigint NOT NULL CHECK (epoch >= 0)
);
COMMENT ON TABLE ledger_node IS
    'Which machine''s transaction ids stamp positions here. A dump restored into a new cluster must raise the epoch.';
INSERT INTO ledger_node (only_row, origin, epoch) VALUES (true, 1, 0);

CREATE TABLE payment_events (
    session_id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    topic text NOT NULL,
    state jsonb NOT NULL,
    previous_hash bytea NOT NULL CHECK (octet_length(previous_hash) = 32),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    origin smallint NOT NULL,
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (session_id, version)
);
CREATE INDEX payment_events_position ON payment_events (origin, position);
COMMENT ON COLUMN payment_events.position IS
    '(epoch + transaction id) << 20 | ordinal in the transaction. Read below ledger_horizon() only.';
COMMENT ON COLUMN payment_events.hash IS
    'SHA-256 of previous_hash and of the SHA-256 of the canonical JSON of [session_id, version, topic, state].';

-- One row a session, moved in the same commit as its events. Amounts are cents.
CREATE TABLE payment_sessions (
    session_id uuid PRIMARY KEY,
    user_id bigint NOT NULL,
    session_status text NOT NULL,
    version integer NOT NULL,
    goods_cents bigint NOT NULL,
    delivery_fee_cents bigint NOT NULL,
    rounding_cents bigint NOT NULL,
    total_cents bigint NOT NULL,
    received_cents bigint NOT NULL,
    refund_due_cents bigint NOT NULL,
    refunded_cents bigint NOT NULL,
    attempts integer NOT NULL,
    open_attempts integer NOT NULL,
    last_attempt_state text,
    transaction_id bigint,
    receipt text,
    evidence text,
    failure_code text,
    failure_reason text,
    order_id bigint,
    order_number text,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_requested_at timestamptz,
    initiated_at timestamptz,
    paid_at timestamptz,
    order_created_at timestamptz,
    ended_at timestamptz,
    updated_at timestamptz NOT NULL
);
CREATE INDEX payment_sessions_of_user ON payment_sessions (user_id, created_at DESC, session_id DESC);
CREATE INDEX payment_sessions_created ON payment_sessions (created_at);
CREATE INDEX payment_sessions_to_expire ON payment_sessions (expires_at)
    WHERE session_status = 'pending' AND open_attempts = 0;
CREATE INDEX payment_sessions_open_attempts ON payment_sessions (last_requested_at) WHERE open_attempts > 0;
CREATE INDEX payment_sessions_refund_due ON payment_sessions (updated_at) WHERE refund_due_cents > 0;

-- What must be unique in the whole system: an M-Pesa receipt is credited once.
CREATE TABLE payment_refs (
    value text NOT NULL,
    kind text NOT NULL,
    session_id uuid NOT NULL,
    reserved_at timestamptz NOT NULL,
    PRIMARY KEY (value, kind)
);
CREATE INDEX payment_refs_session ON payment_refs (session_id);

-- Where a follower may read up to: no transaction below it is still running.
CREATE FUNCTION ledger_horizon(OUT origin smallint, OUT horizon bigint) LANGUAGE sql STABLE AS $$
    SELECT node.origin, (node.epoch + pg_snapshot_xmin(pg_current_snapshot())::text::bigint) << 20
    FROM ledger_node AS node
$$;

CREATE FUNCTION reserve_reference(p_value text, p_kind text, p_session_id uuid) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    INSERT INTO payment_refs (value, kind, session_id, reserved_at)
    VALUES (p_value, p_kind, p_session_id, clock_timestamp())
    ON CONFLICT (value, kind) DO UPDATE SET session_id = payment_refs.session_id
    RETURNING session_id
$$;

-- Appends events and moves the status row: one call, one commit. Raises DF001 where the version is taken or
-- there is a gap before it. Uniqueness of ordinals holds for several calls in one transaction too.
CREATE FUNCTION append_events(
    p_session_id uuid, p_first_version integer, p_topics text[], p_states jsonb[], p_digests bytea[], p_row jsonb
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    v_node ledger_node%ROWTYPE;
    v_base bigint;
    v_ordinal integer := coalesce(nullif(current_setting('daftari.ordinal', true), ''), '0')::integer;
    v_previous bytea := decode(repeat('00', 32), 'hex');
    v_hash bytea;
BEGIN
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
    FOR i IN 1 .. array_length(p_topics, 1) LOOP
        v_hash := sha256(v_previous || p_digests[i]);
        INSERT INTO payment_events
            (session_id, version, topic, state, previous_hash, hash, origin, position, recorded_at)
        VALUES (p_session_id, p_first_version + i - 1, p_topics[i], p_states[i], v_previous, v_hash,
                v_node.origin, v_base | v_ordinal, clock_timestamp())
        ON CONFLICT (session_id, version) DO NOTHING;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'version % of session % is taken', p_first_version + i - 1, p_session_id
                USING ERRCODE = 'DF001';
        END IF;
        v_ordinal := v_ordinal + 1;
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

CREATE FUNCTION refuse_to_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'payment_events is append-only: % is refused', TG_OP USING ERRCODE = 'DF003';
END
$$;
CREATE TRIGGER payment_events_are_final BEFORE UPDATE OR DELETE ON payment_events
    FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite();
CREATE TRIGGER payment_events_are_kept BEFORE TRUNCATE ON payment_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite();
