-- Who holds the horizon: the oldest transaction with an id that is still running, in whatever database of the cluster,
-- or that was prepared and never ended. Replication slots and snapshots of readers do not hold it. Its id, process and
-- application are visible to all; since when it runs, of other roles', only where the owner of this function may read all
-- statistics (GRANT pg_read_all_stats).
CREATE FUNCTION horizon_holder(
    OUT pid integer, OUT database text, OUT application_name text, OUT role text, OUT since timestamptz,
    OUT prepared text
) RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT running.pid, running.database, running.application_name, running.role, running.since, running.prepared
    FROM (
        SELECT pid, datname::text AS database, application_name, usename::text AS role, xact_start AS since,
               NULL::text AS prepared, backend_xid AS xid
        FROM pg_stat_activity WHERE backend_xid IS NOT NULL
        UNION ALL
        SELECT NULL, database::text, NULL, owner::text, prepared, gid, transaction FROM pg_prepared_xacts
    ) AS running
    ORDER BY age(running.xid) DESC LIMIT 1
$$;

-- Written by a readiness check, at most once a second by all processes together.
CREATE TABLE write_probe (
    only_row boolean PRIMARY KEY CHECK (only_row),
    written_at timestamptz NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE write_probe IS 'When a readiness check last proved that the database takes writes.';
INSERT INTO write_probe (only_row, written_at) VALUES (true, '-infinity');
