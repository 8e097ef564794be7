-- A person has looked at what could not be understood, and says what came of it.
ALTER TABLE daraja_inbox
    DROP CONSTRAINT daraja_inbox_state_check,
    ADD CONSTRAINT daraja_inbox_state_check CHECK (state IN ('new', 'acted_on', 'set_aside', 'closed')),
    ADD COLUMN closed_by text,
    ADD COLUMN note text;
