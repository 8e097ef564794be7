-- What a rebuild found, and by which version of its code a projection was made: another one than the code's is rebuilt.
-- A row that a release before wrote is of the first version.
ALTER TABLE projection_rebuilds
    ADD COLUMN projection_version integer NOT NULL DEFAULT 1,
    ADD COLUMN events bigint,
    ADD COLUMN wrong_rows bigint,
    ADD COLUMN differing_keys text[] NOT NULL DEFAULT '{}' CHECK (cardinality(differing_keys) <= 20);
COMMENT ON TABLE projection_rebuilds IS
    'When each projection was last rebuilt from the log, by which release, and what had differed: one row a projection.';
COMMENT ON COLUMN projection_rebuilds.projection_version IS
    'The version of the projection''s code; where the code has a later one, the worker rebuilds it.';
COMMENT ON COLUMN projection_rebuilds.events IS 'How many events were read; NULL if an earlier release rebuilt it.';
COMMENT ON COLUMN projection_rebuilds.wrong_rows IS 'How many live rows differed, and were replaced.';
COMMENT ON COLUMN projection_rebuilds.differing_keys IS 'The keys of the first twenty of them.';

CREATE TABLE projection_rebuilds_under_way (
    name text PRIMARY KEY,
    projection_version integer NOT NULL,
    dry_run boolean NOT NULL,
    started_at timestamptz NOT NULL,
    reached text NOT NULL DEFAULT '',
    events bigint NOT NULL DEFAULT 0,
    wrong_rows bigint NOT NULL DEFAULT 0,
    differing_keys text[] NOT NULL DEFAULT '{}' CHECK (cardinality(differing_keys) <= 20)
);
COMMENT ON TABLE projection_rebuilds_under_way IS
    'How far a rebuild has got, so that one that was ended goes on there: one row a projection.';
COMMENT ON COLUMN projection_rebuilds_under_way.reached IS
    'The session that comes next; empty where the shadow table''s own position says it.';

-- These are compared session by session now, and need no shadow.
DROP TABLE payment_refunds_rebuilt, payment_cases_rebuilt;

CREATE OR REPLACE VIEW analytics.projection_status AS
SELECT projection.name, node.origin, coalesce(reached.position, 0) AS position, behind.events AS events_behind,
       coalesce(extract(epoch FROM clock_timestamp() - behind.oldest), 0)::numeric(14, 3) AS seconds_behind,
       rebuilt.version, coalesce(rebuilt.rebuilt_at, made.applied_at) AS built_at,
       coalesce(rebuilt.projection_version, 1) AS projection_version
FROM (VALUES ('payment_metrics', '0001_payment_metrics.sql'), ('payment_figures', '0039_payment_figures.sql'),
             ('payment_refunds', '0004_payment_refunds.sql'),
             ('payment_cases', '0005_payment_cases.sql'), ('payment_search', '0016_payment_search.sql'),
             ('journal_entries', '0020_journal_entries.sql')) AS projection (name, migration)
CROSS JOIN public.ledger_node AS node
LEFT JOIN public.follower_positions AS reached ON reached.name = projection.name AND reached.origin = node.origin
LEFT JOIN public.projection_rebuilds AS rebuilt ON rebuilt.name = projection.name
LEFT JOIN public.schema_migrations AS made ON made.package = 'projections' AND made.name = projection.migration
CROSS JOIN LATERAL (
    SELECT count(*) AS events, min(recorded_at) AS oldest
    FROM (SELECT recorded_at FROM public.payment_events
          WHERE payment_events.origin = node.origin AND payment_events.position > coalesce(reached.position, 0)
          ORDER BY payment_events.position LIMIT 10000) AS event
) AS behind
UNION ALL
SELECT 'payment_sessions', node.origin,
       coalesce((SELECT max(position) FROM public.payment_events WHERE payment_events.origin = node.origin), 0), 0::bigint,
       0::numeric(14, 3),
       rebuilt.version, coalesce(rebuilt.rebuilt_at, made.applied_at), coalesce(rebuilt.projection_version, 1)
FROM public.ledger_node AS node
LEFT JOIN public.projection_rebuilds AS rebuilt ON rebuilt.name = 'payment_sessions'
LEFT JOIN public.schema_migrations AS made ON made.package = 'ledger.store' AND made.name = '0001_events.sql';
COMMENT ON VIEW analytics.projection_status IS
    'One row a projection: how far it is behind the log. payment_sessions never is: it moves in the commit of each event.';
COMMENT ON COLUMN analytics.projection_status.name IS
    'payment_sessions, payment_metrics (of payment_metrics_hourly and daily_funnel), payment_figures (of figure_restatements), payment_refunds (of refunds), journal_entries; payment_cases and payment_search are of the console.';
COMMENT ON COLUMN analytics.projection_status.projection_version IS
    'The version of the code that made its rows, which counts up where other rows follow from the same events.';
