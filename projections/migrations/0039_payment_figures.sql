-- Figures by hour, day and month in which sessions were created, in all and by county, product and result code; and the
-- part of each hour that an event moved more than an hour after its end.

CREATE TABLE payment_figures (
    grain text NOT NULL CHECK (grain IN ('hour', 'day', 'month', 'late')),
    dimension text NOT NULL CHECK (dimension IN ('all', 'county', 'product', 'result_code')),
    start timestamptz NOT NULL,
    value text NOT NULL,
    position bigint NOT NULL,
    sessions_created bigint NOT NULL,
    pending bigint NOT NULL,
    payment_initiated bigint NOT NULL,
    paid bigint NOT NULL,
    failed bigint NOT NULL,
    expired bigint NOT NULL,
    order_created bigint NOT NULL,
    payments_initiated bigint NOT NULL,
    payments_received bigint NOT NULL,
    orders_created bigint NOT NULL,
    paid_cents bigint NOT NULL,
    refunds bigint NOT NULL,
    payments integer[] NOT NULL,
    buyers bigint[] NOT NULL,
    session_id uuid,
    version integer,
    topic text,
    recorded_at timestamptz,
    PRIMARY KEY (grain, dimension, start, value, position),
    CHECK ((grain = 'late') = (recorded_at IS NOT NULL)),
    -- No finer figure of a place exists than the analysts' view by county shows.
    CHECK (dimension <> 'county' OR grain = 'month')
);
COMMENT ON COLUMN payment_figures.grain IS
    'hour, day, month: a sum, days and months in Nairobi. late: what one event added to the sums of an hour long over.';
COMMENT ON COLUMN payment_figures.value IS 'The county/subcounty, listing or result code; empty where there is none.';
COMMENT ON COLUMN payment_figures.position IS 'Of a late event; 0 in a sum.';
COMMENT ON COLUMN payment_figures.refunds IS 'Sessions that were paid and of whose money some has gone back.';
COMMENT ON COLUMN payment_figures.payments IS 'Payments by the time from the prompt, in the intervals of SECONDS.';
COMMENT ON COLUMN payment_figures.buyers IS 'Of a place: the first buyers, five at most.';

-- What came late, newest first; and what came after a moment, to be taken off.
CREATE INDEX payment_figures_late ON payment_figures (dimension, recorded_at, session_id, version) WHERE grain = 'late';

CREATE TABLE payment_figures_rebuilt (LIKE payment_figures INCLUDING ALL);

CREATE VIEW analytics.figure_restatements AS
SELECT recorded_at, session_id, version, topic, start AS hour, figure, change
FROM public.payment_figures
CROSS JOIN LATERAL (VALUES
    ('sessions_created', sessions_created), ('pending', pending), ('payment_initiated', payment_initiated),
    ('paid', paid), ('failed', failed), ('expired', expired), ('order_created', order_created),
    ('payments_initiated', payments_initiated), ('payments_received', payments_received),
    ('orders_created', orders_created), ('paid_cents', paid_cents), ('refunds', refunds)
) AS moved (figure, change)
WHERE grain = 'late' AND dimension = 'all' AND change <> 0;
COMMENT ON VIEW analytics.figure_restatements IS
    'One row a figure of a past hour that an event changed when it was recorded more than an hour after the end of that hour.';
COMMENT ON COLUMN analytics.figure_restatements.recorded_at IS 'When the event was recorded.';
COMMENT ON COLUMN analytics.figure_restatements.session_id IS 'The session of the event.';
COMMENT ON COLUMN analytics.figure_restatements.version IS 'The number of the event in its session.';
COMMENT ON COLUMN analytics.figure_restatements.topic IS 'What happened, as in docs/events.md.';
COMMENT ON COLUMN analytics.figure_restatements.hour IS 'When the hour begins in which the session was created.';
COMMENT ON COLUMN analytics.figure_restatements.figure IS
    'The figure: a column of payment_metrics_hourly, or refunds, sessions that were paid and of whose money some has gone back.';
COMMENT ON COLUMN analytics.figure_restatements.change IS 'By how much it changed.';
