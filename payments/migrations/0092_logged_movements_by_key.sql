-- outside a transaction
-- In place of the unique one: which of several rows of a movement is ours, its MAC says.
CREATE INDEX CONCURRENTLY movement_log_key ON movement_log (movement_key);
