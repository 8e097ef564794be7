-- The body of a message is encrypted for all that the inbox tells of it, so that it opens beside nothing else. Rows from
-- before are bound to their id alone: the application's login may not set the mark that says so.
ALTER TABLE daraja_inbox ADD COLUMN is_from_before boolean NOT NULL DEFAULT true;
ALTER TABLE daraja_inbox ALTER COLUMN is_from_before SET DEFAULT false;
COMMENT ON COLUMN daraja_inbox.is_from_before IS
    'Whether it was stored before the body was bound to channel, authentication and what the URL named.';
