-- Bearer tokens that are refused before they end. Processes keep a copy in memory and read what is new every second
-- or two, by revoked_at.
CREATE TABLE token_revocations (
    user_id bigint NOT NULL,
    token_id text NOT NULL CHECK (token_id ~ '^([0-9a-f]{64})?$'),
    revoked_at timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (user_id, token_id)
);
CREATE INDEX token_revocations_latest ON token_revocations (revoked_at);
COMMENT ON COLUMN token_revocations.token_id IS
    'SHA-256 of the token''s id in hex; empty for all tokens of the user that were issued up to revoked_at.';
COMMENT ON COLUMN token_revocations.expires_at IS
    'When the token ends by itself and the row can go; NULL where that is not known.';
