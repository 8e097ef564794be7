-- Signed blocks over the whole log: whoever alters, adds or removes an event below the last block has to forge them all.
CREATE TABLE signed_blocks (
    origin smallint NOT NULL,
    number bigint NOT NULL CHECK (number > 0),
    after_position bigint NOT NULL,
    until_position bigint NOT NULL CHECK (until_position > after_position),
    events integer NOT NULL CHECK (events > 0),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    previous_hash bytea NOT NULL CHECK (octet_length(previous_hash) = 32),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    signature bytea NOT NULL CHECK (octet_length(signature) = 64),
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (origin, number)
);
COMMENT ON COLUMN signed_blocks.digest IS
    'SHA-256 of the positions (8 bytes, big-endian) and hashes of its events, in the order of positions: digest_of_events.';
COMMENT ON COLUMN signed_blocks.hash IS
    'SHA-256 of the block''s canonical JSON, previous_hash included; the signature is Ed25519 over it.';

CREATE FUNCTION digest_of_events(
    p_origin smallint, p_after bigint, p_until bigint, OUT events integer, OUT digest bytea
) LANGUAGE sql STABLE AS $$
    SELECT count(*)::integer,
           sha256(coalesce(string_agg(int8send(position) || hash, ''::bytea ORDER BY position), ''::bytea))
    FROM payment_events WHERE origin = p_origin AND position > p_after AND position <= p_until
$$;

CREATE OR REPLACE FUNCTION refuse_to_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'DF003';
END
$$;
CREATE TRIGGER signed_blocks_are_final BEFORE UPDATE OR DELETE ON signed_blocks
    FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite();
CREATE TRIGGER signed_blocks_are_kept BEFORE TRUNCATE ON signed_blocks
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite();
