-- Webhooks: whom to tell of events, and how far each has been told. What an endpoint is (its URL, its events, whose it is,
-- its secrets) is encrypted for its row, so that a login of the database can neither read, add nor redirect one. What is
-- sent is not stored: it is made of the log, when it is sent.
CREATE TABLE webhook_endpoints (
    endpoint_id uuid PRIMARY KEY,
    sealed_definition text NOT NULL CHECK (length(sealed_definition) <= 8000),
    created_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'enabled' CHECK (state IN ('enabled', 'disabled')),
    reason text CHECK (reason IN ('by_hand', 'gone', 'only_failures')),
    changed_at timestamptz NOT NULL,
    origin smallint NOT NULL,
    position bigint NOT NULL,
    failing_since timestamptz,
    paused_until timestamptz,
    CHECK ((state = 'disabled') = (reason IS NOT NULL))
);
COMMENT ON TABLE webhook_endpoints IS 'Webhook endpoints, and how far each has followed the log.';
COMMENT ON COLUMN webhook_endpoints.sealed_definition IS
    'URL, events, name of the key that it belongs to, and secrets: JSON, encrypted for this row.';
COMMENT ON COLUMN webhook_endpoints.reason IS
    'Why it is disabled: `by_hand`, `gone` (it answered 410), or `only_failures` (nothing was taken for days).';
COMMENT ON COLUMN webhook_endpoints.changed_at IS 'When it was last enabled or disabled.';
COMMENT ON COLUMN webhook_endpoints.position IS
    'The events up to here are in `webhook_deliveries`; it goes back where they are delivered again.';
COMMENT ON COLUMN webhook_endpoints.failing_since IS 'When the first of its failures since the last success was.';
COMMENT ON COLUMN webhook_endpoints.paused_until IS 'Nothing is sent before, as it asked by Retry-After.';

CREATE TABLE webhook_deliveries (
    delivery_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint_id uuid NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    session_id uuid NOT NULL,
    version integer NOT NULL,
    type text NOT NULL CHECK (length(type) <= 60),
    queued_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    tried_since timestamptz,
    next_attempt_at timestamptz,
    last_attempt_at timestamptz,
    last_status integer,
    last_error text CHECK (length(last_error) <= 60),
    settled_at timestamptz,
    UNIQUE (endpoint_id, session_id, version)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_attempt_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_listed ON webhook_deliveries (endpoint_id, delivery_id);
CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (settled_at) WHERE state = 'failed';
CREATE INDEX webhook_deliveries_settled ON webhook_deliveries (settled_at) WHERE settled_at IS NOT NULL;
COMMENT ON TABLE webhook_deliveries IS
    'Which events each webhook endpoint is told of, and how that went; without what is told. Kept for some weeks.';
COMMENT ON COLUMN webhook_deliveries.version IS 'The version of the event within its session.';
COMMENT ON COLUMN webhook_deliveries.state IS
    '`pending`, then `delivered` or `failed` (given up).';
COMMENT ON COLUMN webhook_deliveries.tried_since IS 'When the first attempt was.';
COMMENT ON COLUMN webhook_deliveries.next_attempt_at IS
    'When it is due; NULL while an earlier event of its session is pending for the endpoint.';
COMMENT ON COLUMN webhook_deliveries.last_status IS 'The HTTP status of the last answer, if there was one.';
COMMENT ON COLUMN webhook_deliveries.last_error IS 'Why the last attempt failed, in words of ours.';

INSERT INTO retention_kinds (kind, action, minimum)
VALUES ('webhook_deliveries', 'DELETE FROM public.webhook_deliveries', '7 days');

-- The view as it is by now, and one kind more.
DO $$
BEGIN
    EXECUTE 'CREATE OR REPLACE VIEW retained_rows AS '
        || rtrim(pg_get_viewdef('retained_rows'::regclass), ';')
        || ' UNION ALL SELECT ''webhook_deliveries'', ctid, settled_at, NULL FROM webhook_deliveries'
        || ' WHERE settled_at IS NOT NULL';
END
$$;
