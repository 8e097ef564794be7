-- What the application's role may not write freely is written by functions, which check it first. Their owner and the
-- rights to call them are in grants.sql.

-- Stores the next block of this machine's log; no row if its number is taken. Raises DF004 for a block that does not
-- follow the last one, reaches above the horizon, or is not over the events that are there.
CREATE FUNCTION add_signed_block(
    p_origin smallint, p_number bigint, p_after bigint, p_until bigint, p_events integer, p_digest bytea,
    p_previous_hash bytea, p_hash bytea, p_public_key bytea, p_signature bytea, p_signed_at timestamptz
) RETURNS SETOF bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_last public.signed_blocks%ROWTYPE;
    v_log record;
    v_found record;
BEGIN
    SELECT * INTO v_last FROM public.signed_blocks WHERE origin = p_origin ORDER BY number DESC LIMIT 1;
    IF p_number <= v_last.number THEN
        RETURN;
    END IF;
    SELECT * INTO v_log FROM public.ledger_horizon();
    SELECT * INTO v_found FROM public.digest_of_events(p_origin, p_after, p_until);
    IF p_origin IS DISTINCT FROM v_log.origin
       OR p_number IS DISTINCT FROM coalesce(v_last.number, 0) + 1
       OR p_after IS DISTINCT FROM coalesce(v_last.until_position, 0)
       OR p_previous_hash IS DISTINCT FROM coalesce(v_last.hash, decode(repeat('00', 32), 'hex')) THEN
        RAISE EXCEPTION 'block % does not follow the last one', p_number USING ERRCODE = 'DF004';
    END IF;
    IF p_until >= v_log.horizon
       OR (p_events, p_digest) IS DISTINCT FROM (v_found.events, v_found.digest)
       OR NOT EXISTS (SELECT FROM public.payment_events WHERE origin = p_origin AND position = p_until) THEN
        RAISE EXCEPTION 'block % is not over the events of the log', p_number USING ERRCODE = 'DF004';
    END IF;
    RETURN QUERY
        INSERT INTO public.signed_blocks (origin, number, after_position, until_position, events, digest,
                                          previous_hash, hash, public_key, signature, signed_at)
        VALUES (p_origin, p_number, p_after, p_until, p_events, p_digest, p_previous_hash, p_hash, p_public_key,
                p_signature, p_signed_at)
        ON CONFLICT (origin, number) DO NOTHING RETURNING number;
END
$$;

-- Deletes the oldest messages that anyone could have posted, beyond a number, which is no less than 1,000.
CREATE FUNCTION purge_unauthenticated_messages(p_kept integer) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    DELETE FROM public.daraja_inbox WHERE inbox_id IN (
        SELECT inbox_id FROM public.daraja_inbox WHERE NOT is_proven AND session_id IS NULL AND state <> 'closed'
        ORDER BY received_at DESC OFFSET greatest(p_kept, 1000)
    ) RETURNING inbox_id
$$;

-- Lets a rebuild begin: its shadow table has read nothing. No other position is ever forgotten.
CREATE FUNCTION forget_position_of_rebuild(p_name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    DELETE FROM public.follower_positions WHERE name = p_name AND name LIKE '%\_rebuilt'
$$;

-- A follower that went back would apply events twice.
CREATE FUNCTION refuse_to_go_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only moves forward', TG_TABLE_NAME USING ERRCODE = 'DF003';
END
$$;
CREATE TRIGGER follower_positions_move_forward BEFORE UPDATE ON follower_positions
    FOR EACH ROW WHEN (NEW.position < OLD.position) EXECUTE FUNCTION refuse_to_go_back();

-- What a person has closed stays as they closed it.
CREATE FUNCTION refuse_to_reopen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a row of % that a person has closed stays closed', TG_TABLE_NAME USING ERRCODE = 'DF003';
END
$$;
CREATE TRIGGER daraja_inbox_stays_closed BEFORE UPDATE ON daraja_inbox FOR EACH ROW
    WHEN (OLD.state = 'closed'
          AND (NEW.state, NEW.closed_by, NEW.note, NEW.settled_at)
              IS DISTINCT FROM (OLD.state, OLD.closed_by, OLD.note, OLD.settled_at))
    EXECUTE FUNCTION refuse_to_reopen();
CREATE TRIGGER mpesa_movements_stay_closed BEFORE UPDATE ON mpesa_movements FOR EACH ROW
    WHEN (OLD.closed_at IS NOT NULL
          AND (NEW.closed_at, NEW.closed_by, NEW.note) IS DISTINCT FROM (OLD.closed_at, OLD.closed_by, OLD.note))
    EXECUTE FUNCTION refuse_to_reopen();
CREATE TRIGGER pull_gaps_stay_closed BEFORE UPDATE ON pull_gaps FOR EACH ROW
    WHEN (OLD.closed_at IS NOT NULL
          AND (NEW.closed_at, NEW.closed_by) IS DISTINCT FROM (OLD.closed_at, OLD.closed_by))
    EXECUTE FUNCTION refuse_to_reopen();
