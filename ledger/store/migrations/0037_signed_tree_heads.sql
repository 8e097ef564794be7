-- A signed block is also the head of a Merkle tree (RFC 6962) over all events of its origin up to its last position, so
-- that a third party can be shown that an event is under it, and that a later head has this one in it. Blocks from
-- before have none of these columns; the next block takes their events into the tree.
ALTER TABLE signed_blocks
    ADD COLUMN tree_size bigint,
    ADD COLUMN root_hash bytea CHECK (octet_length(root_hash) = 32),
    ADD COLUMN peaks bytea CHECK (octet_length(peaks) BETWEEN 32 AND 63 * 32),
    ADD COLUMN leaves bytea,
    ADD CHECK (num_nulls(tree_size, root_hash, peaks, leaves) IN (0, 4));
ALTER TABLE signed_blocks ALTER COLUMN leaves SET STORAGE EXTERNAL;
COMMENT ON COLUMN signed_blocks.hash IS
    'SHA-256 of the block''s canonical JSON, previous_hash, tree_size and root_hash included; the signature is Ed25519 over it.';
COMMENT ON COLUMN signed_blocks.tree_size IS 'How many events of its origin there are up to its last position.';
COMMENT ON COLUMN signed_blocks.root_hash IS 'The root of the Merkle tree over them; a leaf is a position and a hash.';
COMMENT ON COLUMN signed_blocks.peaks IS
    'The hashes of the complete parts of that tree, the largest first; they lead to root_hash, and the next block grows from them.';
COMMENT ON COLUMN signed_blocks.leaves IS
    'The positions (8 bytes, big-endian) and hashes of its events, of which digest is the SHA-256: they name what is gone.';

CREATE TABLE merkle_nodes (
    origin smallint NOT NULL,
    level smallint NOT NULL CHECK (level BETWEEN 8 AND 62),
    number bigint NOT NULL CHECK (number >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    until_position bigint NOT NULL,
    PRIMARY KEY (origin, level, number)
);
COMMENT ON TABLE merkle_nodes IS
    'Nodes of the Merkle tree over the log, from 256 events up, so that a proof reads few rows. A proof is checked against the signed root.';
COMMENT ON COLUMN merkle_nodes.number IS 'From 0 on its level: it is over 2^level events, from number * 2^level on.';
COMMENT ON COLUMN merkle_nodes.until_position IS 'The position of the last event under it.';
CREATE UNIQUE INDEX merkle_nodes_of_positions ON merkle_nodes (origin, until_position) WHERE level = 8;

-- The nodes of the tree are computed here, from what the blocks are over, and no caller says them: who holds the
-- application's login could store nodes that no proof leads through, which stand in the place of the true ones for ever.

-- The hash of the complete node over 256 leaves of 40 bytes each.
CREATE FUNCTION merkle_node_of(p_leaves bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_hashes bytea[];
BEGIN
    SELECT array_agg(sha256('\x00'::bytea || substr(p_leaves, 40 * n + 1, 40)) ORDER BY n) INTO v_hashes
    FROM generate_series(0, 255) AS n;
    WHILE cardinality(v_hashes) > 1 LOOP
        SELECT array_agg(sha256('\x01'::bytea || v_hashes[2 * n - 1] || v_hashes[2 * n]) ORDER BY n) INTO v_hashes
        FROM generate_series(1, cardinality(v_hashes) / 2) AS n;
    END LOOP;
    RETURN v_hashes[1];
END
$$;

-- Stores the nodes, from 256 events up, that the blocks of an origin complete and that are not stored yet. A block from
-- before the tree lists no leaves: they are those of the log.
CREATE FUNCTION complete_merkle_nodes(p_origin smallint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_part bigint;
    v_after bigint;
    v_until bigint;
    v_block record;
    v_of_block bytea;
    v_leaves bytea := ''::bytea;
    v_level smallint;
    v_number bigint;
    v_hash bytea;
BEGIN
    SELECT number + 1, until_position INTO v_part, v_after FROM public.merkle_nodes
    WHERE origin = p_origin AND level = 8 ORDER BY until_position DESC LIMIT 1;
    v_part := coalesce(v_part, 0);
    v_after := coalesce(v_after, 0);
    FOR v_block IN
        SELECT after_position, until_position, leaves FROM public.signed_blocks
        WHERE origin = p_origin AND until_position > v_after ORDER BY number
    LOOP
        v_of_block := ''::bytea || coalesce(v_block.leaves, (
            SELECT string_agg(int8send(position) || hash, ''::bytea ORDER BY position) FROM public.payment_events
            WHERE origin = p_origin AND position > v_block.after_position AND position <= v_block.until_position
        ), ''::bytea);
        IF v_block.after_position < v_after THEN  -- The last node ends in this block.
            v_of_block := substr(v_of_block, 1 + 40 * (
                SELECT count(*)::integer FROM generate_series(0, octet_length(v_of_block) / 40 - 1) AS n
                WHERE substr(v_of_block, 40 * n + 1, 8) <= int8send(v_after)));
        END IF;
        v_leaves := v_leaves || v_of_block;
        WHILE octet_length(v_leaves) >= 256 * 40 LOOP
            v_hash := public.merkle_node_of(substr(v_leaves, 1, 256 * 40));
            v_until := ('x' || encode(substr(v_leaves, 255 * 40 + 1, 8), 'hex'))::bit(64)::bigint;
            v_leaves := substr(v_leaves, 256 * 40 + 1);
            v_level := 8;
            v_number := v_part;
            INSERT INTO public.merkle_nodes VALUES (p_origin, v_level, v_number, v_hash, v_until)
            ON CONFLICT DO NOTHING;
            WHILE v_number % 2 = 1 LOOP
                SELECT sha256('\x01'::bytea || hash || v_hash) INTO v_hash FROM public.merkle_nodes
                WHERE origin = p_origin AND level = v_level AND number = v_number - 1;
                EXIT WHEN v_hash IS NULL;
                v_level := v_level + 1;
                v_number := v_number / 2;
                INSERT INTO public.merkle_nodes VALUES (p_origin, v_level, v_number, v_hash, v_until)
                ON CONFLICT DO NOTHING;
            END LOOP;
            v_part := v_part + 1;
        END LOOP;
    END LOOP;
END
$$;

-- Stores the next block of this machine's log, as the head of its tree, and the nodes that it completes; no row if its
-- number is taken. Raises DF004 for a block that does not follow the last one, reaches above the horizon, or is not over
-- the events that are there. Size, root and peaks are checked where they are read, by the signature.
CREATE FUNCTION add_signed_head(
    p_origin smallint, p_number bigint, p_after bigint, p_until bigint, p_events integer, p_digest bytea,
    p_previous_hash bytea, p_hash bytea, p_public_key bytea, p_signature bytea, p_signed_at timestamptz,
    p_tree_size bigint, p_root_hash bytea, p_peaks bytea
) RETURNS SETOF bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_last public.signed_blocks%ROWTYPE;
    v_log record;
    v_leaves bytea;
BEGIN
    SELECT * INTO v_last FROM public.signed_blocks WHERE origin = p_origin ORDER BY number DESC LIMIT 1;
    IF p_number <= v_last.number THEN
        RETURN;
    END IF;
    SELECT * INTO v_log FROM public.ledger_horizon();
    IF p_origin IS DISTINCT FROM v_log.origin
       OR p_number IS DISTINCT FROM coalesce(v_last.number, 0) + 1
       OR p_after IS DISTINCT FROM coalesce(v_last.until_position, 0)
       OR p_previous_hash IS DISTINCT FROM coalesce(v_last.hash, decode(repeat('00', 32), 'hex')) THEN
        RAISE EXCEPTION 'block % does not follow the last one', p_number USING ERRCODE = 'DF004';
    END IF;
    SELECT string_agg(int8send(position) || hash, ''::bytea ORDER BY position) INTO v_leaves
    FROM public.payment_events WHERE origin = p_origin AND position > p_after AND position <= p_until;
    IF (p_until < v_log.horizon AND octet_length(v_leaves) = 40 * p_events AND sha256(v_leaves) = p_digest
        AND p_until = (SELECT max(position) FROM public.payment_events WHERE origin = p_origin AND position <= p_until)
       ) IS NOT TRUE THEN
        RAISE EXCEPTION 'block % is not over the events of the log', p_number USING ERRCODE = 'DF004';
    END IF;
    RETURN QUERY
        INSERT INTO public.signed_blocks (
            origin, number, after_position, until_position, events, digest, previous_hash, hash, public_key, signature,
            signed_at, tree_size, root_hash, peaks, leaves)
        VALUES (p_origin, p_number, p_after, p_until, p_events, p_digest, p_previous_hash, p_hash, p_public_key,
                p_signature, p_signed_at, p_tree_size, p_root_hash, p_peaks, v_leaves)
        ON CONFLICT (origin, number) DO NOTHING RETURNING number;
    IF FOUND THEN
        PERFORM public.complete_merkle_nodes(p_origin);
    END IF;
END
$$;

-- A moment that no client can read would make the block, and so every later one, unreadable.
ALTER TABLE signed_blocks ADD CONSTRAINT signed_blocks_signed_at_check
    CHECK (signed_at >= '2000-01-01 00:00:00+00' AND signed_at < '9000-01-01 00:00:00+00') NOT VALID;
