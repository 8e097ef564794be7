-- The keys of this installation by purpose, each wrapped by a key of the master key: a new master key wraps them anew,
-- and what was made with them stays good.
CREATE TABLE key_ring (
    purpose text NOT NULL,
    key_id integer NOT NULL CHECK (key_id >= 0),
    wrapped_key bytea NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz,
    PRIMARY KEY (purpose, key_id)
);
COMMENT ON COLUMN key_ring.key_id IS '0 is the key that releases before this table derived from the master key.';
COMMENT ON COLUMN key_ring.retired_at IS 'From when on the next key is used for new values; old ones still need this one.';
