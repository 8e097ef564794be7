-- The views for analysts, an interface: a view or a column of it is added, and never renamed, retyped or taken away.
-- They read with their owner's rights, so that a login needs no right on a table. No phone, name, address or text of
-- a caller is in them, and of places only what `by_county` shows.
CREATE SCHEMA analytics;
COMMENT ON SCHEMA analytics IS 'Views for analysts. Columns are only ever added.';

CREATE VIEW analytics.payment_sessions AS
SELECT session_id, user_id, session_status, shop, goods_cents, delivery_fee_cents, rounding_cents, total_cents,
       received_cents, refund_due_cents, refunded_cents, attempts, open_attempts, last_attempt_state, transaction_id,
       receipt, evidence, failure_code, order_id,
       CASE WHEN shop <> 'none' THEN order_number END AS order_number,
       (created_at AT TIME ZONE 'Africa/Nairobi')::date AS created_day,
       created_at, expires_at, last_requested_at, initiated_at, paid_at, order_created_at, ended_at, updated_at, version
FROM public.payment_sessions;
COMMENT ON VIEW analytics.payment_sessions IS
    'One row a payment session, as it stands after its last event. It moves in the commit of the event.';
COMMENT ON COLUMN analytics.payment_sessions.session_id IS 'The session.';
COMMENT ON COLUMN analytics.payment_sessions.user_id IS 'Its buyer, a number that only the shop can resolve.';
COMMENT ON COLUMN analytics.payment_sessions.session_status IS
    'pending, payment_initiated, paid, order_created, failed or expired. A pending session whose time has run out is expired in the API at once, and here within seconds.';
COMMENT ON COLUMN analytics.payment_sessions.shop IS 'Who makes the order: builtin, http or none.';
COMMENT ON COLUMN analytics.payment_sessions.goods_cents IS 'The goods.';
COMMENT ON COLUMN analytics.payment_sessions.delivery_fee_cents IS 'The delivery.';
COMMENT ON COLUMN analytics.payment_sessions.rounding_cents IS 'Added or taken so that the total is whole shillings.';
COMMENT ON COLUMN analytics.payment_sessions.total_cents IS 'What is to be paid: goods, delivery and rounding.';
COMMENT ON COLUMN analytics.payment_sessions.received_cents IS 'All money received, surplus included.';
COMMENT ON COLUMN analytics.payment_sessions.refund_due_cents IS 'What is still to go back to the buyer.';
COMMENT ON COLUMN analytics.payment_sessions.refunded_cents IS 'What has gone back to the buyer.';
COMMENT ON COLUMN analytics.payment_sessions.attempts IS 'How many attempts there were.';
COMMENT ON COLUMN analytics.payment_sessions.open_attempts IS 'How many of them wait for their outcome.';
COMMENT ON COLUMN analytics.payment_sessions.last_attempt_state IS
    'The state of the attempt that paid, else of the latest: requested, initiated, uncertain, refused, failed or paid.';
COMMENT ON COLUMN analytics.payment_sessions.transaction_id IS
    'The number of that attempt; D and this number is the account reference at M-Pesa.';
COMMENT ON COLUMN analytics.payment_sessions.receipt IS
    'M-Pesa''s receipt of the payment; null until it is known.';
COMMENT ON COLUMN analytics.payment_sessions.evidence IS
    'The best source that proved the payment: query, callback, c2b or statement.';
COMMENT ON COLUMN analytics.payment_sessions.failure_code IS
    'Why it failed. A session that was paid late keeps the code of its failure.';
COMMENT ON COLUMN analytics.payment_sessions.order_id IS 'The shop''s id of the order; null without one.';
COMMENT ON COLUMN analytics.payment_sessions.order_number IS
    'The number of the order; null without a shop, where it is the caller''s own text.';
COMMENT ON COLUMN analytics.payment_sessions.created_day IS 'The day in Nairobi on which it was created.';
COMMENT ON COLUMN analytics.payment_sessions.created_at IS 'When it was created.';
COMMENT ON COLUMN analytics.payment_sessions.expires_at IS 'Until when a prompt may be asked for.';
COMMENT ON COLUMN analytics.payment_sessions.last_requested_at IS
    'When the attempt that paid, else the latest, was asked for.';
COMMENT ON COLUMN analytics.payment_sessions.initiated_at IS 'When the first prompt was sent, or may have been.';
COMMENT ON COLUMN analytics.payment_sessions.paid_at IS 'When the money moved, by M-Pesa''s clock if it was told.';
COMMENT ON COLUMN analytics.payment_sessions.order_created_at IS 'When the order was made.';
COMMENT ON COLUMN analytics.payment_sessions.ended_at IS 'When it failed or expired.';
COMMENT ON COLUMN analytics.payment_sessions.updated_at IS 'When its last event happened.';
COMMENT ON COLUMN analytics.payment_sessions.version IS 'How many events it has.';

-- The events of a session are found by its primary key, so that a condition on session_created_at bounds the work.
CREATE VIEW analytics.payment_attempts AS
SELECT session.session_id, found.attempt, found.transaction_id,
       CASE WHEN found.paid_at IS NOT NULL THEN 'paid'
            WHEN found.refused_at IS NOT NULL THEN 'refused'
            WHEN found.failed_at IS NOT NULL THEN 'failed'
            WHEN found.initiated_at IS NOT NULL THEN 'initiated'
            WHEN found.uncertain_at IS NOT NULL THEN 'uncertain'
            ELSE 'requested' END AS attempt_state,
       found.amount_cents, found.requested_at, found.initiated_at,
       coalesce(found.paid_at, found.refused_at, found.failed_at) AS ended_at,
       CASE WHEN found.paid_at IS NULL THEN coalesce(found.refusal_code, found.failure_code) END AS failure_code,
       CASE WHEN found.paid_at IS NULL THEN found.result_code END AS result_code,
       session.created_at AS session_created_at
FROM public.payment_sessions AS session
CROSS JOIN LATERAL (
    SELECT (state->>'attempt')::integer AS attempt,
           max((state->>'transaction_id')::bigint) FILTER (WHERE kind = 'requested') AS transaction_id,
           max((state->>'amount_cents')::bigint) FILTER (WHERE kind = 'requested') AS amount_cents,
           min(happened_at) FILTER (WHERE kind = 'requested') AS requested_at,
           min(happened_at) FILTER (WHERE kind = 'initiated') AS initiated_at,
           min(happened_at) FILTER (WHERE kind = 'uncertain') AS uncertain_at,
           min(happened_at) FILTER (WHERE kind = 'refused') AS refused_at,
           min(happened_at) FILTER (WHERE kind = 'failed') AS failed_at,
           min(happened_at) FILTER (WHERE kind = 'paid') AS paid_at,
           max(state->>'code') FILTER (WHERE kind = 'refused') AS refusal_code,
           (array_agg(state->>'code' ORDER BY version) FILTER (WHERE kind = 'failed'))[1] AS failure_code,
           (array_agg(state->>'result_code' ORDER BY version) FILTER (WHERE kind = 'failed'))[1] AS result_code
    FROM (
        SELECT version, state, (state->>'timestamp')::timestamptz AS happened_at,
               CASE topic WHEN 'payment_session.payment_requested.v1' THEN 'requested'
                          WHEN 'payment_session.payment_initiated.v1' THEN 'initiated'
                          WHEN 'payment_session.payment_uncertain.v1' THEN 'uncertain'
                          WHEN 'payment_session.payment_refused.v1' THEN 'refused'
                          WHEN 'payment_session.attempt_failed.v1' THEN 'failed'
                          WHEN 'payment_session.failed.v1' THEN 'failed'
                          WHEN 'payment_session.paid.v1' THEN 'paid'
                          WHEN 'payment_session.surplus_received.v1' THEN
                              CASE WHEN coalesce((state->>'answers_attempt')::boolean, true) THEN 'paid' END
               END AS kind
        FROM public.payment_events WHERE payment_events.session_id = session.session_id
    ) AS event
    WHERE kind IS NOT NULL GROUP BY 1
) AS found
WHERE session.attempts > 0;
COMMENT ON VIEW analytics.payment_attempts IS
    'One row an attempt: a prompt that was, or was about to be, sent. Bound queries over much data by session_created_at.';
COMMENT ON COLUMN analytics.payment_attempts.session_id IS 'Its session.';
COMMENT ON COLUMN analytics.payment_attempts.attempt IS 'Its number in the session, from 1.';
COMMENT ON COLUMN analytics.payment_attempts.transaction_id IS
    'Its number in the whole system; D and this number is the account reference at M-Pesa.';
COMMENT ON COLUMN analytics.payment_attempts.attempt_state IS
    'requested, initiated, uncertain (these three are open), refused (M-Pesa sent nothing), failed or paid.';
COMMENT ON COLUMN analytics.payment_attempts.amount_cents IS 'What the prompt asks for.';
COMMENT ON COLUMN analytics.payment_attempts.requested_at IS 'When it was asked for.';
COMMENT ON COLUMN analytics.payment_attempts.initiated_at IS 'When M-Pesa accepted it.';
COMMENT ON COLUMN analytics.payment_attempts.ended_at IS 'When its outcome was known to us; null while it is open.';
COMMENT ON COLUMN analytics.payment_attempts.failure_code IS 'Why it was refused or failed; null if it was paid.';
COMMENT ON COLUMN analytics.payment_attempts.result_code IS 'M-Pesa''s ResultCode of the failure, if there was one.';
COMMENT ON COLUMN analytics.payment_attempts.session_created_at IS 'When its session was created.';

CREATE VIEW analytics.payments AS
SELECT session.session_id, money.attempt, money.kind, coalesce(money.receipt, better.receipt) AS receipt,
       coalesce(better.evidence, money.evidence) AS evidence, money.amount_cents,
       (money.paid_at AT TIME ZONE 'Africa/Nairobi')::date AS paid_day, money.paid_at, money.recorded_at, money.is_late,
       session.created_at AS session_created_at
FROM public.payment_sessions AS session
CROSS JOIN LATERAL (
    SELECT (state->>'attempt')::integer AS attempt,
           CASE topic WHEN 'payment_session.paid.v1' THEN 'payment' ELSE state->>'why' END AS kind,
           state->>'receipt' AS receipt, state->>'evidence' AS evidence,
           (state->>'amount_cents')::bigint AS amount_cents, (state->>'paid_at')::timestamptz AS paid_at,
           (state->>'timestamp')::timestamptz AS recorded_at,
           coalesce(state->>'previous_status' IN ('failed', 'expired'), false) AS is_late
    FROM public.payment_events
    WHERE payment_events.session_id = session.session_id
      AND topic IN ('payment_session.paid.v1', 'payment_session.surplus_received.v1')
) AS money
LEFT JOIN LATERAL (
    SELECT state->>'receipt' AS receipt, state->>'evidence' AS evidence
    FROM public.payment_events
    WHERE payment_events.session_id = session.session_id
      AND topic IN ('payment_session.receipt_recorded.v1', 'payment_session.evidence_upgraded.v1')
      AND (state->>'attempt')::integer = money.attempt
      AND (money.receipt IS NULL OR state->>'receipt' = money.receipt)
    ORDER BY version DESC LIMIT 1
) AS better ON true
WHERE session.received_cents > 0;
COMMENT ON VIEW analytics.payments IS
    'One row a sum of money that came in for a session. Bound queries over much data by session_created_at.';
COMMENT ON COLUMN analytics.payments.session_id IS 'Its session.';
COMMENT ON COLUMN analytics.payments.attempt IS 'The attempt that it was paid for.';
COMMENT ON COLUMN analytics.payments.kind IS
    'payment: the sum that was asked for. Else it is surplus: second_payment, wrong_amount or amount_not_named.';
COMMENT ON COLUMN analytics.payments.receipt IS 'M-Pesa''s receipt; null while the money is known by a query alone.';
COMMENT ON COLUMN analytics.payments.evidence IS
    'The best source that proved it, from the weakest: query, callback, c2b, statement.';
COMMENT ON COLUMN analytics.payments.amount_cents IS 'The money.';
COMMENT ON COLUMN analytics.payments.paid_day IS 'The day in Nairobi on which the money moved.';
COMMENT ON COLUMN analytics.payments.paid_at IS 'When the money moved, by M-Pesa''s clock if it was told.';
COMMENT ON COLUMN analytics.payments.recorded_at IS 'When we recorded it.';
COMMENT ON COLUMN analytics.payments.is_late IS
    'Whether the session had failed or expired before the payment was known. Of surplus it is always false.';
COMMENT ON COLUMN analytics.payments.session_created_at IS 'When its session was created.';

CREATE VIEW analytics.orders AS
SELECT session_id, user_id, order_id, CASE WHEN shop <> 'none' THEN order_number END AS order_number, shop,
       goods_cents, delivery_fee_cents, rounding_cents, total_cents,
       (order_created_at AT TIME ZONE 'Africa/Nairobi')::date AS order_day, order_created_at, paid_at,
       created_at AS session_created_at
FROM public.payment_sessions WHERE order_number IS NOT NULL;
COMMENT ON VIEW analytics.orders IS 'One row an order that was made of a paid session.';
COMMENT ON COLUMN analytics.orders.session_id IS 'Its session.';
COMMENT ON COLUMN analytics.orders.user_id IS 'Its buyer, a number that only the shop can resolve.';
COMMENT ON COLUMN analytics.orders.order_id IS 'The shop''s id; null without a shop.';
COMMENT ON COLUMN analytics.orders.order_number IS
    'Its number; null without a shop, where it is the caller''s own text.';
COMMENT ON COLUMN analytics.orders.shop IS 'Who made it: builtin, http or none.';
COMMENT ON COLUMN analytics.orders.goods_cents IS 'The goods.';
COMMENT ON COLUMN analytics.orders.delivery_fee_cents IS 'The delivery.';
COMMENT ON COLUMN analytics.orders.rounding_cents IS 'Added or taken so that the total is whole shillings.';
COMMENT ON COLUMN analytics.orders.total_cents IS 'What was paid for it: goods, delivery and rounding.';
COMMENT ON COLUMN analytics.orders.order_day IS 'The day in Nairobi on which it was made.';
COMMENT ON COLUMN analytics.orders.order_created_at IS 'When it was made.';
COMMENT ON COLUMN analytics.orders.paid_at IS 'When the money moved.';
COMMENT ON COLUMN analytics.orders.session_created_at IS 'When its session was created.';

CREATE VIEW analytics.order_lines AS
SELECT session.session_id, line.number::integer AS line, (line.item->>'listing_id')::bigint AS listing_id,
       nullif(line.item->>'product_name', '') AS product_name, nullif(line.item->>'farm_name', '') AS farm_name,
       ((line.item->>'quantity_thousandths')::numeric / 1000)::numeric(18, 3) AS quantity,
       line.item->>'unit_of_measure' AS unit_of_measure, (line.item->>'price_cents')::bigint AS price_cents,
       (line.item->>'subtotal_cents')::bigint AS subtotal_cents,
       (session.order_created_at AT TIME ZONE 'Africa/Nairobi')::date AS order_day, session.order_created_at
FROM public.payment_sessions AS session
JOIN public.payment_events AS created ON created.session_id = session.session_id AND created.version = 1
CROSS JOIN LATERAL jsonb_array_elements(created.state->'lines') WITH ORDINALITY AS line (item, number)
WHERE session.order_number IS NOT NULL;
COMMENT ON VIEW analytics.order_lines IS 'One row a line of an order.';
COMMENT ON COLUMN analytics.order_lines.session_id IS 'The session of its order.';
COMMENT ON COLUMN analytics.order_lines.line IS 'Its number in the order, from 1.';
COMMENT ON COLUMN analytics.order_lines.listing_id IS
    'What was bought; null in a checkout made with an API key.';
COMMENT ON COLUMN analytics.order_lines.product_name IS
    'Its name in the catalogue; null in a checkout made with an API key, whose text is encrypted.';
COMMENT ON COLUMN analytics.order_lines.farm_name IS 'The farm it came from; null as the name.';
COMMENT ON COLUMN analytics.order_lines.quantity IS 'How much, in units.';
COMMENT ON COLUMN analytics.order_lines.unit_of_measure IS 'The unit, such as kg.';
COMMENT ON COLUMN analytics.order_lines.price_cents IS 'The price of one unit.';
COMMENT ON COLUMN analytics.order_lines.subtotal_cents IS 'Price times quantity, rounded half up.';
COMMENT ON COLUMN analytics.order_lines.order_day IS 'The day in Nairobi on which the order was made.';
COMMENT ON COLUMN analytics.order_lines.order_created_at IS 'When the order was made.';

CREATE VIEW analytics.refunds AS
SELECT session_id, refund, attempt, state AS refund_state, amount_cents, why, of_order, restock, receipt, means,
       reversal_receipt, in_doubt, failures, failure_code,
       (due_at AT TIME ZONE 'Africa/Nairobi')::date AS due_day, due_at, approved_at, refused_at, requested_at, failed_at,
       done_at
FROM public.payment_refunds;
COMMENT ON VIEW analytics.refunds IS 'One row a sum that must go back to a buyer, or went.';
COMMENT ON COLUMN analytics.refunds.session_id IS 'Its session.';
COMMENT ON COLUMN analytics.refunds.refund IS 'Its number in the session, from 1.';
COMMENT ON COLUMN analytics.refunds.attempt IS 'The attempt that the money was paid for.';
COMMENT ON COLUMN analytics.refunds.refund_state IS 'due, approved, refused, requested or refunded; only the last is final.';
COMMENT ON COLUMN analytics.refunds.amount_cents IS 'The money.';
COMMENT ON COLUMN analytics.refunds.why IS 'Why it is due, as a code.';
COMMENT ON COLUMN analytics.refunds.of_order IS 'Whether it is money of the order that was made.';
COMMENT ON COLUMN analytics.refunds.restock IS 'Whether the goods of the order went back on the shelf.';
COMMENT ON COLUMN analytics.refunds.receipt IS 'M-Pesa''s receipt of the payment that goes back.';
COMMENT ON COLUMN analytics.refunds.means IS 'How it went back.';
COMMENT ON COLUMN analytics.refunds.reversal_receipt IS 'M-Pesa''s receipt of the money that went back, if known.';
COMMENT ON COLUMN analytics.refunds.in_doubt IS 'Whether M-Pesa''s answer is missing, so that it may have gone back.';
COMMENT ON COLUMN analytics.refunds.failures IS 'How many attempts to send it failed.';
COMMENT ON COLUMN analytics.refunds.failure_code IS 'Why the last one failed.';
COMMENT ON COLUMN analytics.refunds.due_day IS 'The day in Nairobi on which it became due.';
COMMENT ON COLUMN analytics.refunds.due_at IS 'When it became due.';
COMMENT ON COLUMN analytics.refunds.approved_at IS 'When it was approved.';
COMMENT ON COLUMN analytics.refunds.refused_at IS 'When a person decided to hold it.';
COMMENT ON COLUMN analytics.refunds.requested_at IS 'When M-Pesa was last asked to send it.';
COMMENT ON COLUMN analytics.refunds.failed_at IS 'When an attempt to send it last failed.';
COMMENT ON COLUMN analytics.refunds.done_at IS 'When it had gone back.';

CREATE VIEW analytics.journal_entries AS
SELECT entry_id, what, debit_account, credit_account, amount_cents,
       (occurred_at AT TIME ZONE 'Africa/Nairobi')::date AS occurred_day, occurred_at, recorded_at, receipt, session_id
FROM public.journal_entries;
COMMENT ON VIEW analytics.journal_entries IS
    'The books: each row debits one account and credits another by the same sum. docs/books.md describes the accounts.';
COMMENT ON COLUMN analytics.journal_entries.entry_id IS 'Its number.';
COMMENT ON COLUMN analytics.journal_entries.what IS 'The name of the event, or what M-Pesa''s movement is.';
COMMENT ON COLUMN analytics.journal_entries.debit_account IS 'The account that is debited.';
COMMENT ON COLUMN analytics.journal_entries.credit_account IS 'The account that is credited.';
COMMENT ON COLUMN analytics.journal_entries.amount_cents IS 'The sum.';
COMMENT ON COLUMN analytics.journal_entries.occurred_day IS 'The day in Nairobi on which it happened.';
COMMENT ON COLUMN analytics.journal_entries.occurred_at IS 'When it happened.';
COMMENT ON COLUMN analytics.journal_entries.recorded_at IS 'When it was recorded.';
COMMENT ON COLUMN analytics.journal_entries.receipt IS
    'The M-Pesa receipt that the sum came in by, went out by, or belongs to.';
COMMENT ON COLUMN analytics.journal_entries.session_id IS 'The session, if it is about one.';
