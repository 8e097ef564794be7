-- What the dashboard reads in place of sessions: failures by code, and times to pay, by the hour. Hours from before are
-- filled by the rebuild that the worker makes of the second version of `payment_figures`.
ALTER TABLE payment_figures
    DROP CONSTRAINT payment_figures_dimension_check,
    ADD CONSTRAINT payment_figures_dimension_check
        CHECK (dimension IN ('all', 'county', 'product', 'result_code', 'failure_code')) NOT VALID;
ALTER TABLE payment_figures_rebuilt
    DROP CONSTRAINT payment_figures_dimension_check,
    ADD CONSTRAINT payment_figures_dimension_check
        CHECK (dimension IN ('all', 'county', 'product', 'result_code', 'failure_code')) NOT VALID;
COMMENT ON COLUMN payment_figures.value IS
    'The county/subcounty, listing, result code or failure code; empty where there is none.';
COMMENT ON COLUMN payment_figures.position IS
    'Of a late event; 0 in a sum. What late events moved in a group has the moment of their record in microseconds.';

CREATE VIEW analytics.failure_reasons_hourly AS
SELECT start AS hour, value AS failure_code, failed AS sessions
FROM public.payment_figures WHERE grain = 'hour' AND dimension = 'failure_code' AND failed <> 0;
COMMENT ON VIEW analytics.failure_reasons_hourly IS
    'One row an hour and code: the sessions created in it that have failed. A projection: it may be a moment behind failure_reasons.';
COMMENT ON COLUMN analytics.failure_reasons_hourly.hour IS 'When the hour begins in which the sessions were created.';
COMMENT ON COLUMN analytics.failure_reasons_hourly.failure_code IS 'Why they failed.';
COMMENT ON COLUMN analytics.failure_reasons_hourly.sessions IS 'How many.';

CREATE VIEW analytics.times_to_pay_hourly AS
SELECT start AS hour, seconds[number::integer] AS over_seconds,
       seconds[number::integer + 1] AS up_to_seconds, payment.count AS payments
FROM public.payment_figures
CROSS JOIN LATERAL unnest(payments) WITH ORDINALITY AS payment (count, number)
CROSS JOIN (SELECT ARRAY[
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
    31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58,
    59, 60, 66, 72, 78, 84, 90, 96, 102, 108, 114, 120, 132, 145, 159, 174, 191, 210, 231, 254, 279, 306, 336, 369,
    405, 445, 489, 537, 590, 649, 713, 784, 862, 948, 1042, 1146, 1260, 1386, 1524, 1676, 1843, 2027, 2229, 2451,
    2696, 2965, 3261, 3587, 3945, 4339, 4772, 5249, 5773, 6350, 6985, 7683, 8451, 9296, 10225, 11247, 12371, 13608,
    14968, 16464, 18110, 19921, 21913, 24104, 26514, 29165, 32081, 35289, 38817, 42698, 46967, 51663, 56829, 62511,
    68762, 75638, 83201, 91521, 100673, 110740, 121814, 133995, 147394, 162133, 178346, 196180, 215798, 237377,
    261114, 287225, 315947, 347541, 382295, 420524, 462576, 508833, 559716, 615687, 677255, 744980
] AS seconds) AS bounds
WHERE grain = 'hour' AND dimension = 'all' AND payment.count <> 0;
COMMENT ON VIEW analytics.times_to_pay_hourly IS
    'One row an hour and span of time: how many payments of the sessions created in it took so long from the prompt. Spans are of a second, and beyond a minute at most a tenth longer each.';
COMMENT ON COLUMN analytics.times_to_pay_hourly.hour IS 'When the hour begins.';
COMMENT ON COLUMN analytics.times_to_pay_hourly.over_seconds IS 'They took longer than so many seconds from asking for the prompt that paid, the first span apart.';
COMMENT ON COLUMN analytics.times_to_pay_hourly.up_to_seconds IS 'They took so many seconds at most.';
COMMENT ON COLUMN analytics.times_to_pay_hourly.payments IS 'How many.';

CREATE VIEW analytics.times_to_pay_daily AS
SELECT (start AT TIME ZONE 'Africa/Nairobi')::date AS day, seconds[number::integer] AS over_seconds,
       seconds[number::integer + 1] AS up_to_seconds, payment.count AS payments
FROM public.payment_figures
CROSS JOIN LATERAL unnest(payments) WITH ORDINALITY AS payment (count, number)
CROSS JOIN (SELECT ARRAY[
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
    31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58,
    59, 60, 66, 72, 78, 84, 90, 96, 102, 108, 114, 120, 132, 145, 159, 174, 191, 210, 231, 254, 279, 306, 336, 369,
    405, 445, 489, 537, 590, 649, 713, 784, 862, 948, 1042, 1146, 1260, 1386, 1524, 1676, 1843, 2027, 2229, 2451,
    2696, 2965, 3261, 3587, 3945, 4339, 4772, 5249, 5773, 6350, 6985, 7683, 8451, 9296, 10225, 11247, 12371, 13608,
    14968, 16464, 18110, 19921, 21913, 24104, 26514, 29165, 32081, 35289, 38817, 42698, 46967, 51663, 56829, 62511,
    68762, 75638, 83201, 91521, 100673, 110740, 121814, 133995, 147394, 162133, 178346, 196180, 215798, 237377,
    261114, 287225, 315947, 347541, 382295, 420524, 462576, 508833, 559716, 615687, 677255, 744980
] AS seconds) AS bounds
WHERE grain = 'day' AND dimension = 'all' AND payment.count <> 0;
COMMENT ON VIEW analytics.times_to_pay_daily IS
    'One row a day and span of time: how many payments of the sessions created in it took so long from the prompt. Spans are of a second, and beyond a minute at most a tenth longer each.';
COMMENT ON COLUMN analytics.times_to_pay_daily.day IS 'The day in Nairobi.';
COMMENT ON COLUMN analytics.times_to_pay_daily.over_seconds IS 'They took longer than so many seconds from asking for the prompt that paid, the first span apart.';
COMMENT ON COLUMN analytics.times_to_pay_daily.up_to_seconds IS 'They took so many seconds at most.';
COMMENT ON COLUMN analytics.times_to_pay_daily.payments IS 'How many.';

-- A function with its owner's rights, as county_groups is: the plan of a plain view would count what it leaves out. The
-- rule is that of `projections.figures` too: a place with few buyers is of the rest of its county, shown if that has enough.
CREATE FUNCTION analytics.county_figures(p_month date) RETURNS TABLE (
    month date, county_id integer, subcounty_id integer, sessions bigint, payments_received bigint, orders_created bigint,
    paid_cents bigint
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_min_buyers CONSTANT integer := 5;
    v_month CONSTANT date := date_trunc('month', p_month);
BEGIN
    RETURN QUERY
    WITH cell AS MATERIALIZED (
        SELECT split_part(value, '/', 1)::integer AS county_id, buyers,
               CASE WHEN cardinality(buyers) >= v_min_buyers
                    THEN nullif(split_part(value, '/', 2), '')::integer END AS subcounty_id,
               sessions_created, payments_received, orders_created, paid_cents
        FROM public.payment_figures
        WHERE grain = 'month' AND dimension = 'county' AND start = v_month::timestamp AT TIME ZONE 'Africa/Nairobi'
    ), rest AS (
        SELECT county_id FROM cell CROSS JOIN LATERAL unnest(buyers) AS buyer
        WHERE subcounty_id IS NULL GROUP BY 1 HAVING count(DISTINCT buyer) >= v_min_buyers
    )
    SELECT v_month, county_id, subcounty_id, sum(sessions_created)::bigint, sum(payments_received)::bigint,
           sum(orders_created)::bigint, sum(paid_cents)::bigint
    FROM cell WHERE subcounty_id IS NOT NULL OR county_id IN (SELECT rest.county_id FROM rest)
    GROUP BY 2, 3;
END
$$;
REVOKE ALL ON FUNCTION analytics.county_figures(date) FROM PUBLIC;
COMMENT ON FUNCTION analytics.county_figures(date) IS
    'The rows of by_county of the month of a day, without its buyers, from sums in place of sessions.';

-- What nobody has filled has nothing to rebuild.
ALTER TABLE projection_rebuilds ALTER COLUMN version DROP NOT NULL;
COMMENT ON COLUMN projection_rebuilds.version IS
    'The release that rebuilt it; NULL where it was made by this version of its code and never rebuilt.';
INSERT INTO projection_rebuilds (name, rebuilt_at, projection_version)
SELECT 'payment_figures', now(), 2
WHERE NOT EXISTS (SELECT FROM follower_positions WHERE name = 'payment_figures')
ON CONFLICT (name) DO NOTHING;
