-- What the ledger needs beside the log: keys, prompts, the inbox, answers to repeat, secrets, followers.

-- A key per customer, wrapped by the master key; destroying it erases the person from every sealed value.
CREATE TABLE customer_keys (
    user_id bigint PRIMARY KEY,
    wrapped_key bytea,
    created_at timestamptz NOT NULL,
    destroyed_at timestamptz,
    CHECK ((wrapped_key IS NULL) = (destroyed_at IS NOT NULL))
);

CREATE SEQUENCE payment_transaction_ids AS bigint CACHE 1;

-- At most one live prompt a phone: the row is the right to prompt it.
CREATE TABLE live_prompts (
    phone_digest text PRIMARY KEY,
    session_id uuid NOT NULL,
    live_until timestamptz NOT NULL
);
CREATE INDEX live_prompts_session ON live_prompts (session_id);

-- Raw callbacks, kept before anything is made of them.
CREATE TABLE daraja_inbox (
    inbox_id uuid PRIMARY KEY,
    received_at timestamptz NOT NULL,
    session_id uuid,
    attempt integer,
    key_owner bigint NOT NULL,
    sealed_body text NOT NULL,
    body_bytes bigint NOT NULL,
    body_sha256 text NOT NULL,
    state text NOT NULL CHECK (state IN ('new', 'acted_on', 'set_aside')),
    reason text,
    tries integer NOT NULL,
    next_try_at timestamptz,
    settled_at timestamptz
);
CREATE INDEX daraja_inbox_to_do ON daraja_inbox (next_try_at) WHERE state = 'new';
CREATE INDEX daraja_inbox_set_aside ON daraja_inbox (received_at) WHERE state = 'set_aside';
CREATE INDEX daraja_inbox_session ON daraja_inbox (session_id) WHERE session_id IS NOT NULL;

CREATE TABLE idempotency_keys (
    user_id bigint NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    claimed_until timestamptz,
    status integer,
    sealed_body text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE sealed_settings (
    name text PRIMARY KEY,
    sealed_value text NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE access_tokens (
    consumer text PRIMARY KEY,
    sealed_value text NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE follower_positions (
    name text NOT NULL,
    origin smallint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (name, origin)
);

-- An event whose handler failed: tried again with growing gaps, then set aside for a person.
CREATE TABLE follower_failures (
    name text NOT NULL,
    session_id uuid NOT NULL,
    version integer NOT NULL,
    topic text NOT NULL,
    error text NOT NULL,
    tries integer NOT NULL,
    next_try_at timestamptz,
    first_failed_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('retrying', 'set_aside')),
    PRIMARY KEY (name, session_id, version)
);
CREATE INDEX follower_failures_due ON follower_failures (name, next_try_at) WHERE state = 'retrying';

-- How often an open attempt was asked about, and when to ask again.
CREATE TABLE attempt_checks (
    session_id uuid NOT NULL,
    attempt integer NOT NULL,
    asked_at timestamptz NOT NULL,
    tries integer NOT NULL,
    next_check_at timestamptz NOT NULL,
    last_answer text NOT NULL,
    PRIMARY KEY (session_id, attempt)
);
