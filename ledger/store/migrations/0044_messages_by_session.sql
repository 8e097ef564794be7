-- outside a transaction
CREATE INDEX CONCURRENTLY daraja_inbox_about ON daraja_inbox (about_session) WHERE about_session IS NOT NULL;
