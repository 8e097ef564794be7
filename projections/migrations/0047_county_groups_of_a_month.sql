-- The groups of `analytics.by_county` of one month, which are read by the index of sessions by their creation. A group
-- is left out by the same rule: two views of a month that differ would give away what either leaves out.
CREATE FUNCTION analytics.county_groups(p_month date) RETURNS TABLE (
    month date, county_id integer, subcounty_id integer, buyers bigint, sessions bigint, payments_received bigint,
    orders_created bigint, paid_cents bigint
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_min_buyers CONSTANT integer := 5;
    v_month CONSTANT date := date_trunc('month', p_month);
    v_since CONSTANT timestamptz := v_month::timestamp AT TIME ZONE 'Africa/Nairobi';
    v_until CONSTANT timestamptz := (v_month + interval '1 month') AT TIME ZONE 'Africa/Nairobi';
BEGIN
    RETURN QUERY
    WITH buyer AS MATERIALIZED (
        SELECT county_id, subcounty_id, user_id, count(*) AS sessions, count(paid_at) AS paid,
               count(order_number) AS ordered,
               coalesce(sum(total_cents) FILTER (WHERE paid_at IS NOT NULL), 0) AS paid_cents
        FROM public.payment_sessions
        WHERE created_at >= v_since AND created_at < v_until AND county_id IS NOT NULL
        GROUP BY 1, 2, 3
    ), subcounty AS (
        SELECT county_id, subcounty_id FROM buyer WHERE subcounty_id IS NOT NULL
        GROUP BY 1, 2 HAVING count(*) >= v_min_buyers
    )
    SELECT v_month, buyer.county_id, subcounty.subcounty_id, count(DISTINCT buyer.user_id), sum(buyer.sessions)::bigint,
           sum(buyer.paid)::bigint, sum(buyer.ordered)::bigint, sum(buyer.paid_cents)::bigint
    FROM buyer LEFT JOIN subcounty USING (county_id, subcounty_id)
    GROUP BY 2, 3 HAVING count(DISTINCT buyer.user_id) >= v_min_buyers;
END
$$;
REVOKE ALL ON FUNCTION analytics.county_groups(date) FROM PUBLIC;
COMMENT ON FUNCTION analytics.county_groups(date) IS
    'The rows of by_county of the month of a day, without reading any other month.';
