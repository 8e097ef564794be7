-- Deletes the oldest verification runs beyond a number, which is no less than 1,000.
CREATE FUNCTION purge_verification_runs(p_kept integer) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    DELETE FROM public.verification_runs WHERE run_id IN (
        SELECT run_id FROM public.verification_runs ORDER BY finished_at DESC OFFSET greatest(p_kept, 1000)
    ) RETURNING run_id
$$;

-- What a person has closed stays as they closed it.
CREATE TRIGGER follower_failures_stay_closed BEFORE UPDATE ON follower_failures FOR EACH ROW
    WHEN (OLD.state = 'closed'
          AND (NEW.state, NEW.closed_at, NEW.closed_by, NEW.note)
              IS DISTINCT FROM (OLD.state, OLD.closed_at, OLD.closed_by, OLD.note))
    EXECUTE FUNCTION refuse_to_reopen();
