-- What each look over the whole store found, for auditors: sentences without personal data, at most some hundreds.
CREATE TABLE verification_runs (
    run_id uuid PRIMARY KEY,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    events bigint NOT NULL,
    version text NOT NULL,
    violations jsonb NOT NULL
);
CREATE INDEX verification_runs_latest ON verification_runs (finished_at DESC);
