-- What was switched off in an incident, and on again: the newest row of a name counts. Rows are only added.
CREATE TABLE switch_changes (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CHECK (name IN ('prompts', 'refunds')),
    is_on boolean NOT NULL,
    reason text NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX switch_changes_newest ON switch_changes (name, change_id DESC);
COMMENT ON TABLE switch_changes IS
    'What was switched off in an incident, and on again: the newest row of a name counts.';
