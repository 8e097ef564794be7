-- The next row gets the ordinal after the last one, so an ordinal at the end of its type would be the last for ever, and
-- the journal passes over what is below the highest that it has posted.
CREATE FUNCTION refuse_gaps_in_ordinals() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT min(ordinal) AS first, max(ordinal) AS last, count(*) AS rows FROM added) AS new
        WHERE first::numeric + rows - 1 <> last
           OR first <> 1 + coalesce((SELECT max(ordinal) FROM public.movement_log WHERE ordinal < first), 0)
    ) THEN
        RAISE EXCEPTION 'rows of the movement log are numbered in a row' USING ERRCODE = 'DF004';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER movement_log_in_a_row AFTER INSERT ON movement_log
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_gaps_in_ordinals();
