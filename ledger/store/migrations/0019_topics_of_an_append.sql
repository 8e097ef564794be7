-- The topics of an append are compared as arrays: the join of 0010, on a table that nobody analyses, took 0.1 ms.
DO $$
DECLARE
    v_text text := pg_get_functiondef(
        'append_events(uuid, integer, text[], text[], text, bytea[], integer, bytea[], jsonb)'::regprocedure
    );
    v_join text := '(SELECT count(*) FROM unnest(p_topics) AS given (topic) JOIN event_topics USING (topic)) <> v_count';
    v_arrays text := '(p_topics <@ (SELECT array_agg(topic) FROM event_topics)) IS NOT TRUE';
BEGIN
    IF strpos(v_text, v_join) = 0 THEN
        RAISE EXCEPTION 'append_events is not the function that migration 0010 made';
    END IF;
    EXECUTE replace(v_text, v_join, v_arrays);
END
$$;
