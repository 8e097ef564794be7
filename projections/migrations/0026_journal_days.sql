-- Sums of the journal's entries by Nairobi's day, so that a balance is not added up from all entries. Triggers keep them, in
-- the commit that adds the entries: so also beside processes from before, and no login of the application can write them.
CREATE TABLE journal_days (
    day date NOT NULL,
    debit_account text NOT NULL,
    credit_account text NOT NULL,
    entries bigint NOT NULL,
    amount_cents numeric NOT NULL,
    first_recorded_at timestamptz NOT NULL,
    last_recorded_at timestamptz NOT NULL,
    PRIMARY KEY (day, debit_account, credit_account)
);
COMMENT ON TABLE journal_days IS
    'Sums of `journal_entries` by Nairobi''s day of `occurred_at` and by pair of accounts. Triggers keep them.';
COMMENT ON COLUMN journal_days.first_recorded_at IS 'The least `recorded_at` of these entries.';
COMMENT ON COLUMN journal_days.last_recorded_at IS 'The greatest: as known from then on, the day is what is summed here.';

-- Not every sum fits into a bigint that a forged entry is part of: it must not stop the books.
CREATE FUNCTION fill_journal_days() RETURNS void LANGUAGE sql
SET search_path = pg_catalog, public, pg_temp AS $$
    DELETE FROM public.journal_days;
    INSERT INTO public.journal_days
    SELECT (occurred_at AT TIME ZONE 'UTC' + interval '3 hours')::date, debit_account, credit_account,
           count(*), sum(amount_cents), min(recorded_at), max(recorded_at)
    FROM public.journal_entries GROUP BY 1, 2, 3;
$$;

CREATE FUNCTION add_to_journal_days() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO public.journal_days AS kept
    SELECT (occurred_at AT TIME ZONE 'UTC' + interval '3 hours')::date, debit_account, credit_account,
           count(*), sum(amount_cents), min(recorded_at), max(recorded_at)
    FROM added GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (day, debit_account, credit_account) DO UPDATE
    SET entries = kept.entries + excluded.entries, amount_cents = kept.amount_cents + excluded.amount_cents,
        first_recorded_at = least(kept.first_recorded_at, excluded.first_recorded_at),
        last_recorded_at = greatest(kept.last_recorded_at, excluded.last_recorded_at);
    RETURN NULL;
END
$$;

-- Entries go in a rebuild only, all together.
CREATE FUNCTION refill_journal_days() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM public.fill_journal_days();
    RETURN NULL;
END
$$;

CREATE TRIGGER journal_entries_added AFTER INSERT ON journal_entries
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION add_to_journal_days();
CREATE TRIGGER journal_entries_replaced AFTER UPDATE OR DELETE OR TRUNCATE ON journal_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refill_journal_days();
SELECT fill_journal_days();
