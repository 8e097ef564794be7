-- The figures for analysts, and how far the projections are. Days and months are Nairobi's.

CREATE VIEW analytics.payment_metrics_hourly AS
SELECT hour, sessions_created, pending, payment_initiated, paid, failed, expired, order_created, payments_initiated,
       payments_received, orders_created, paid_cents
FROM public.payment_metrics;
COMMENT ON VIEW analytics.payment_metrics_hourly IS
    'One row an hour: what has become of the sessions created in it. The six columns after sessions_created sum up to it.';
COMMENT ON COLUMN analytics.payment_metrics_hourly.hour IS 'When the hour begins.';
COMMENT ON COLUMN analytics.payment_metrics_hourly.sessions_created IS 'The sessions created in it.';
COMMENT ON COLUMN analytics.payment_metrics_hourly.pending IS 'Those that are pending now.';
COMMENT ON COLUMN analytics.payment_metrics_hourly.payment_initiated IS 'Those that wait for their payment now.';
COMMENT ON COLUMN analytics.payment_metrics_hourly.paid IS 'Those that are paid and wait for their order now.';
COMMENT ON COLUMN analytics.payment_metrics_hourly.failed IS 'Those that have failed.';
COMMENT ON COLUMN analytics.payment_metrics_hourly.expired IS 'Those that have expired.';
COMMENT ON COLUMN analytics.payment_metrics_hourly.order_created IS 'Those that have become an order.';
COMMENT ON COLUMN analytics.payment_metrics_hourly.payments_initiated IS 'Those that ever had a prompt known to M-Pesa.';
COMMENT ON COLUMN analytics.payment_metrics_hourly.payments_received IS 'Those that were ever paid, whatever came of it.';
COMMENT ON COLUMN analytics.payment_metrics_hourly.orders_created IS 'Those for which an order was ever made.';
COMMENT ON COLUMN analytics.payment_metrics_hourly.paid_cents IS 'What those payments brought, without surplus.';

-- Nairobi is three whole hours ahead of UTC all the year, so that its days are made of these hours.
CREATE VIEW analytics.daily_funnel AS
SELECT (hour AT TIME ZONE 'Africa/Nairobi')::date AS day, sum(sessions_created)::bigint AS sessions_created,
       sum(payments_initiated)::bigint AS payments_initiated, sum(payments_received)::bigint AS payments_received,
       sum(orders_created)::bigint AS orders_created, sum(failed)::bigint AS failed, sum(expired)::bigint AS expired,
       sum(pending + payment_initiated)::bigint AS open_sessions, sum(paid_cents)::bigint AS paid_cents
FROM public.payment_metrics GROUP BY 1;
COMMENT ON VIEW analytics.daily_funnel IS 'One row a day: how far the sessions created on it came.';
COMMENT ON COLUMN analytics.daily_funnel.day IS 'The day in Nairobi.';
COMMENT ON COLUMN analytics.daily_funnel.sessions_created IS 'The sessions created on it.';
COMMENT ON COLUMN analytics.daily_funnel.payments_initiated IS 'Those that ever had a prompt known to M-Pesa.';
COMMENT ON COLUMN analytics.daily_funnel.payments_received IS 'Those that were ever paid, whatever came of it.';
COMMENT ON COLUMN analytics.daily_funnel.orders_created IS 'Those for which an order was made.';
COMMENT ON COLUMN analytics.daily_funnel.failed IS 'Those that have failed.';
COMMENT ON COLUMN analytics.daily_funnel.expired IS 'Those that have expired.';
COMMENT ON COLUMN analytics.daily_funnel.open_sessions IS 'Those whose payment is still undecided.';
COMMENT ON COLUMN analytics.daily_funnel.paid_cents IS 'What those payments brought, without surplus.';

CREATE VIEW analytics.failure_reasons AS
SELECT (created_at AT TIME ZONE 'Africa/Nairobi')::date AS day, failure_code, count(*) AS sessions,
       sum(total_cents)::bigint AS total_cents, count(*) FILTER (WHERE received_cents > 0) AS sessions_with_money
FROM public.payment_sessions WHERE session_status = 'failed' GROUP BY 1, 2;
COMMENT ON VIEW analytics.failure_reasons IS
    'One row a day and code: the sessions created on it that have failed. One that was paid late after all is not among them.';
COMMENT ON COLUMN analytics.failure_reasons.day IS 'The day in Nairobi on which the sessions were created.';
COMMENT ON COLUMN analytics.failure_reasons.failure_code IS 'Why they failed.';
COMMENT ON COLUMN analytics.failure_reasons.sessions IS 'How many.';
COMMENT ON COLUMN analytics.failure_reasons.total_cents IS 'What they would have brought.';
COMMENT ON COLUMN analytics.failure_reasons.sessions_with_money IS 'Those of them for which money had come in.';

CREATE VIEW analytics.time_to_pay AS
SELECT day, count(*) AS payments,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY from_creation)::numeric(12, 1) AS p50_seconds_from_creation,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY from_creation)::numeric(12, 1) AS p95_seconds_from_creation,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY from_prompt)::numeric(12, 1) AS p50_seconds_from_prompt,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY from_prompt)::numeric(12, 1) AS p95_seconds_from_prompt
FROM (
    SELECT (created_at AT TIME ZONE 'Africa/Nairobi')::date AS day,
           greatest(extract(epoch FROM paid_at - created_at), 0)::float8 AS from_creation,
           greatest(extract(epoch FROM paid_at - last_requested_at), 0)::float8 AS from_prompt
    FROM public.payment_sessions WHERE paid_at IS NOT NULL
) AS payment GROUP BY 1;
COMMENT ON VIEW analytics.time_to_pay IS 'One row a day: how long the payments of the sessions created on it took.';
COMMENT ON COLUMN analytics.time_to_pay.day IS 'The day in Nairobi on which the sessions were created.';
COMMENT ON COLUMN analytics.time_to_pay.payments IS 'How many of them were paid.';
COMMENT ON COLUMN analytics.time_to_pay.p50_seconds_from_creation IS
    'Half of them were paid within so many seconds of the session''s creation.';
COMMENT ON COLUMN analytics.time_to_pay.p95_seconds_from_creation IS '95 of 100 were, within so many.';
COMMENT ON COLUMN analytics.time_to_pay.p50_seconds_from_prompt IS
    'Half of them were paid within so many seconds of asking for the prompt that paid.';
COMMENT ON COLUMN analytics.time_to_pay.p95_seconds_from_prompt IS '95 of 100 were, within so many.';

-- A function with its owner's rights, because EXPLAIN ANALYZE of a plain view would count the rows of groups that the
-- view leaves out.
CREATE FUNCTION analytics.county_groups() RETURNS TABLE (
    month date, county_id integer, subcounty_id integer, buyers bigint, sessions bigint, payments_received bigint,
    orders_created bigint, paid_cents bigint
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_min_buyers CONSTANT integer := 5;
BEGIN
    RETURN QUERY
    WITH session AS MATERIALIZED (
        SELECT date_trunc('month', created_at AT TIME ZONE 'Africa/Nairobi')::date AS month, county_id, subcounty_id,
               user_id, paid_at, order_number, CASE WHEN paid_at IS NOT NULL THEN total_cents END AS paid_cents
        FROM public.payment_sessions WHERE county_id IS NOT NULL
    ), subcounty AS (
        SELECT month, county_id, subcounty_id FROM session WHERE subcounty_id IS NOT NULL
        GROUP BY 1, 2, 3 HAVING count(DISTINCT user_id) >= v_min_buyers
    )
    SELECT session.month, session.county_id, subcounty.subcounty_id, count(DISTINCT session.user_id), count(*),
           count(session.paid_at), count(session.order_number), coalesce(sum(session.paid_cents), 0)::bigint
    FROM session LEFT JOIN subcounty USING (month, county_id, subcounty_id)
    GROUP BY 1, 2, 3 HAVING count(DISTINCT session.user_id) >= v_min_buyers;
END
$$;
REVOKE ALL ON FUNCTION analytics.county_groups() FROM PUBLIC;

CREATE VIEW analytics.by_county AS
SELECT month, county_id, subcounty_id, buyers, sessions, payments_received, orders_created, paid_cents
FROM analytics.county_groups();
COMMENT ON VIEW analytics.by_county IS
    'One row a month and place of delivery with five buyers or more. Subcounties with fewer are one row of their county, without subcounty_id, and left out if that has fewer too. Sessions of unknown place are left out.';
COMMENT ON COLUMN analytics.by_county.month IS 'The first day of the month in Nairobi in which the sessions were created.';
COMMENT ON COLUMN analytics.by_county.county_id IS 'The county; counties names it.';
COMMENT ON COLUMN analytics.by_county.subcounty_id IS
    'The subcounty; null for the rest of the county: unknown ones, and those with fewer than five buyers.';
COMMENT ON COLUMN analytics.by_county.buyers IS 'The buyers.';
COMMENT ON COLUMN analytics.by_county.sessions IS 'Their sessions.';
COMMENT ON COLUMN analytics.by_county.payments_received IS 'Those that were paid, whatever came of it.';
COMMENT ON COLUMN analytics.by_county.orders_created IS 'Those for which an order was made.';
COMMENT ON COLUMN analytics.by_county.paid_cents IS 'What those payments brought, without surplus.';

CREATE VIEW analytics.projection_status AS
SELECT projection.name, node.origin, coalesce(reached.position, 0) AS position, behind.events AS events_behind,
       coalesce(extract(epoch FROM clock_timestamp() - behind.oldest), 0)::numeric(14, 3) AS seconds_behind,
       rebuilt.version, coalesce(rebuilt.rebuilt_at, made.applied_at) AS built_at
FROM (VALUES ('payment_metrics', '0001_payment_metrics.sql'), ('payment_refunds', '0004_payment_refunds.sql'),
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
COMMENT ON VIEW analytics.projection_status IS
    'One row a projection: how far it is behind the log. payment_sessions is none: it moves in the commit of each event.';
COMMENT ON COLUMN analytics.projection_status.name IS
    'payment_metrics (of payment_metrics_hourly and daily_funnel), payment_refunds (of refunds), journal_entries; payment_cases and payment_search are of the console.';
COMMENT ON COLUMN analytics.projection_status.origin IS 'Which server''s log it follows.';
COMMENT ON COLUMN analytics.projection_status.position IS 'The position of the last event that it has read.';
COMMENT ON COLUMN analytics.projection_status.events_behind IS 'How many later events there are; it stops counting at 10,000.';
COMMENT ON COLUMN analytics.projection_status.seconds_behind IS 'The age of the oldest of them.';
COMMENT ON COLUMN analytics.projection_status.version IS
    'The release of Daftari that last rebuilt it from the log; null if it was never rebuilt.';
COMMENT ON COLUMN analytics.projection_status.built_at IS
    'When it was last rebuilt, or else made: from then on it has followed the log.';
