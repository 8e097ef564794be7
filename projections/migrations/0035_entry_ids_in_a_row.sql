-- The books draw the number of an entry from the last one, so a number at the end of its type would be the last for ever.
CREATE FUNCTION refuse_gaps_in_entry_ids() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT min(entry_id) AS first, max(entry_id) AS last, count(*) AS entries FROM added) AS new
        WHERE first::numeric + entries - 1 <> last
           OR first <> 1 + coalesce((SELECT max(entry_id) FROM public.journal_entries WHERE entry_id < first), 0)
    ) THEN
        RAISE EXCEPTION 'entries of the journal are numbered in a row' USING ERRCODE = 'DF004';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER journal_entries_in_a_row AFTER INSERT ON journal_entries
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_gaps_in_entry_ids();
