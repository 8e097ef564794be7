-- When each projection was last made anew from the log, and by which release.
CREATE TABLE projection_rebuilds (
    name text PRIMARY KEY,
    version text NOT NULL,
    rebuilt_at timestamptz NOT NULL
);
COMMENT ON TABLE projection_rebuilds IS 'When each projection was last rebuilt from the log, and by which release.';
