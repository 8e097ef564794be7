-- projection_status tells of the figures by group, too.
CREATE OR REPLACE VIEW analytics.projection_status AS
SELECT projection.name, node.origin, coalesce(reached.position, 0) AS position, behind.events AS events_behind,
       coalesce(extract(epoch FROM clock_timestamp() - behind.oldest), 0)::numeric(14, 3) AS seconds_behind,
       rebuilt.version, coalesce(rebuilt.rebuilt_at, made.applied_at) AS built_at
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
) AS behind;
COMMENT ON COLUMN analytics.projection_status.name IS
    'payment_metrics (of payment_metrics_hourly and daily_funnel), payment_figures (of figure_restatements), payment_refunds (of refunds), journal_entries; payment_cases and payment_search are of the console.';
