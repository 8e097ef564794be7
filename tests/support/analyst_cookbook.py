"""The queries of docs/analysts.md, which the suite runs as an analyst: each says what it answers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Query:
    """One query, with the question that it answers."""

    question: str
    sql: str


CONTRACT = (
    Query(
        "Sessions by status",
        """
SELECT session_status, COUNT(*)
FROM Payment_Sessions
GROUP BY session_status;
""",
    ),
    Query(
        "Success rate of the last 24 hours",
        """
SELECT
  COUNT(CASE WHEN session_status = 'order_created' THEN 1 END) * 100.0 / NULLIF(COUNT(*), 0) as success_rate
FROM Payment_Sessions
WHERE created_at >= NOW() - INTERVAL '24 HOUR';
""",
    ),
)
"""The checkout contract's two queries: the first as printed, the second as PostgreSQL spells it."""

COOKBOOK = (
    Query(
        "How far did each day's sessions come, in percent of those before?",
        """
SELECT day, sessions_created,
       round(100.0 * payments_initiated / nullif(sessions_created, 0), 1) AS prompted_percent,
       round(100.0 * payments_received / nullif(payments_initiated, 0), 1) AS paid_percent,
       round(100.0 * orders_created / nullif(payments_received, 0), 1) AS ordered_percent
FROM daily_funnel ORDER BY day;
""",
    ),
    Query(
        "What did each day bring, in shillings?",
        """
SELECT day, (paid_cents / 100.0)::numeric(14, 2) AS paid_kes FROM daily_funnel ORDER BY day;
""",
    ),
    Query(
        "Why did sessions fail in a month, and how often?",
        """
SELECT failure_code, sum(sessions) AS sessions, round(100 * sum(sessions) / sum(sum(sessions)) OVER (), 1) AS percent
FROM failure_reasons WHERE day >= '2024-01-01' AND day < '2024-02-01'
GROUP BY failure_code ORDER BY sessions DESC, failure_code;
""",
    ),
    Query(
        "How long do buyers take to pay?",
        """
SELECT day, payments, p50_seconds_from_prompt, p95_seconds_from_prompt FROM time_to_pay ORDER BY day;
""",
    ),
    Query(
        "What do the counties order?",
        """
SELECT by_county.month, counties.name AS county, subcounties.name AS subcounty, by_county.buyers,
       by_county.orders_created, (by_county.paid_cents / 100.0)::numeric(14, 2) AS paid_kes
FROM by_county
JOIN counties USING (county_id) LEFT JOIN subcounties USING (subcounty_id)
ORDER BY month, county, subcounty;
""",
    ),
    Query(
        "How much money is held that must go back, and why?",
        """
SELECT why, refund_state, count(*) AS refunds, (sum(amount_cents) / 100.0)::numeric(14, 2) AS held_kes
FROM refunds WHERE refund_state <> 'refunded'
GROUP BY why, refund_state ORDER BY held_kes DESC, why, refund_state;
""",
    ),
    Query(
        "Which part of the payments of a month went back, or is to?",
        """
SELECT date_trunc('month', paid_at)::date AS month, count(*) AS payments,
       round(100.0 * count(*) FILTER (WHERE refunded_cents + refund_due_cents > 0) / count(*), 1) AS refund_percent
FROM payment_sessions WHERE paid_at IS NOT NULL
GROUP BY 1 ORDER BY 1;
""",
    ),
    Query(
        "Which receipts came after their session had failed or expired?",
        """
SELECT receipt, amount_cents, paid_day, evidence FROM payments
WHERE is_late AND session_created_at >= '2024-01-01' ORDER BY paid_at, receipt;
""",
    ),
    Query(
        "Which sessions were paid twice?",
        """
SELECT session_id, count(*) AS payments, array_agg(receipt ORDER BY paid_at) AS receipts FROM payments
WHERE session_created_at >= '2024-01-01' AND kind IN ('payment', 'second_payment')
GROUP BY session_id HAVING count(*) > 1;
""",
    ),
    Query(
        "How many prompts did sessions need?",
        """
SELECT attempts, count(*) AS sessions, count(paid_at) AS paid FROM payment_sessions
WHERE attempts > 0 GROUP BY attempts ORDER BY attempts;
""",
    ),
    Query(
        "How did the prompts of a month end?",
        """
SELECT attempt_state, failure_code, count(*) AS attempts FROM payment_attempts
WHERE session_created_at >= '2024-01-01' AND session_created_at < '2024-02-01'
GROUP BY attempt_state, failure_code ORDER BY attempts DESC, attempt_state;
""",
    ),
    Query(
        "By which source is the money proved?",
        """
SELECT evidence, count(*) AS payments, count(receipt) AS with_receipt, sum(amount_cents) AS amount_cents
FROM payments WHERE session_created_at >= '2024-01-01' GROUP BY evidence ORDER BY payments DESC, evidence;
""",
    ),
    Query(
        "What sells best?",
        """
SELECT product_name, unit_of_measure, sum(quantity) AS quantity, sum(subtotal_cents) AS subtotal_cents
FROM order_lines WHERE order_day >= '2024-01-01'
GROUP BY product_name, unit_of_measure ORDER BY subtotal_cents DESC LIMIT 20;
""",
    ),
    Query(
        "How long does a paid session wait for its order?",
        """
SELECT order_day, count(*) AS orders,
       max(extract(epoch FROM order_created_at - paid_at))::numeric(12, 1) AS max_seconds
FROM orders GROUP BY order_day ORDER BY order_day;
""",
    ),
    Query(
        "What are the balances of the accounts?",
        """
SELECT account, sum(cents)::bigint AS balance_cents
FROM journal_entries,
     LATERAL (VALUES (debit_account, amount_cents), (credit_account, -amount_cents)) AS side (account, cents)
GROUP BY account ORDER BY account;
""",
    ),
    Query(
        "In which hours of the day are sessions created?",
        """
SELECT extract(hour FROM hour)::integer AS hour_of_day, sum(sessions_created)::bigint AS sessions
FROM payment_metrics_hourly GROUP BY 1 ORDER BY 1;
""",
    ),
    Query(
        "Which figures of past days did late events change, and by how much?",
        """
SELECT (hour AT TIME ZONE 'Africa/Nairobi')::date AS day, figure, sum(change)::bigint AS change,
       count(DISTINCT session_id) AS sessions
FROM figure_restatements WHERE figure IN ('payments_received', 'refunds') GROUP BY 1, 2 ORDER BY 1, 2;
""",
    ),
    Query(
        "How fresh are the figures?",
        """
SELECT name, events_behind, seconds_behind, version FROM projection_status ORDER BY name;
""",
    ),
)
