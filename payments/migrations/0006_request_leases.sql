-- How many changes each user was allowed in a minute, by all processes: each leases a block at a time.
CREATE TABLE request_leases (
    user_id bigint NOT NULL,
    minute timestamptz NOT NULL,
    granted integer NOT NULL,
    PRIMARY KEY (user_id, minute)
);
CREATE INDEX request_leases_minute ON request_leases (minute);
COMMENT ON TABLE request_leases IS
    'Requests a minute of busy users, leased to processes in blocks; a process uses its first block before it leases. Kept for minutes.';
COMMENT ON COLUMN request_leases.minute IS 'When the minute began.';
COMMENT ON COLUMN request_leases.granted IS 'Requests leased to all processes so far.';
