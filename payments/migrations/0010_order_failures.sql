-- How often the order of a paid session could not be made, for other reasons than an outage.
CREATE TABLE order_failures (
    session_id      uuid        PRIMARY KEY,
    failures        integer     NOT NULL CHECK (failures > 0),
    error           text        NOT NULL,
    first_failed_at timestamptz NOT NULL,
    last_failed_at  timestamptz NOT NULL
);
