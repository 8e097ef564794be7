-- Keys by which other programs call the API: a row a secret, of which only a keyed digest is stored. What a row says is
-- covered by a MAC, so that the application's login makes no key; a revocation is never taken back.
CREATE TABLE api_keys (
    key_id text PRIMARY KEY CHECK (key_id ~ '^[0-9a-f]{12}$'),
    name text NOT NULL,
    role text NOT NULL,
    prefix text NOT NULL,
    last_four text NOT NULL,
    digest text NOT NULL UNIQUE,
    allowed_addresses text[] NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz,
    follows text UNIQUE REFERENCES api_keys,
    mac text NOT NULL,
    revoked_at timestamptz,
    last_used_at timestamptz
);
CREATE UNIQUE INDEX api_keys_by_name ON api_keys (name) WHERE follows IS NULL;
COMMENT ON TABLE api_keys IS 'Keys by which other programs call the API: a row a secret, with a MAC. A name is given once; a rotation adds a row under it.';
COMMENT ON COLUMN api_keys.name IS 'What sessions, references and limits of the key belong to, whatever its secret is.';
COMMENT ON COLUMN api_keys.prefix IS 'How the key begins: `dk_live_` in production, `dk_test_` in development.';
COMMENT ON COLUMN api_keys.last_four IS 'The last four characters of the key, by which people tell keys apart.';
COMMENT ON COLUMN api_keys.digest IS 'HMAC-SHA256 of the key, in hexadecimal.';
COMMENT ON COLUMN api_keys.allowed_addresses IS 'Networks that the key is accepted from; empty for any.';
COMMENT ON COLUMN api_keys.created_by IS 'Who made it, as the audit log names them.';
COMMENT ON COLUMN api_keys.expires_at IS 'When it ends by itself; NULL for never.';
COMMENT ON COLUMN api_keys.follows IS 'The key whose place it took.';
COMMENT ON COLUMN api_keys.mac IS 'Number of the key, a point, and HMAC-SHA256 of the row, in hexadecimal; not of when it was revoked and used.';
COMMENT ON COLUMN api_keys.revoked_at IS 'From when on it is refused: after a rotation this may lie ahead.';
COMMENT ON COLUMN api_keys.last_used_at IS 'When it was last accepted, to a minute.';

CREATE FUNCTION revoke_api_key(p_key_id text, p_at timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE public.api_keys SET revoked_at = least(revoked_at, p_at) WHERE key_id = p_key_id
$$;
