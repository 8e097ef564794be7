-- A database that begins with this release holds nothing of version 1.
INSERT INTO reencrypted_tables (name, done_at)
SELECT 'everything', clock_timestamp()
WHERE NOT EXISTS (SELECT FROM customer_keys) AND NOT EXISTS (SELECT FROM sealed_settings)
  AND NOT EXISTS (SELECT FROM payment_events) AND NOT EXISTS (SELECT FROM daraja_inbox);
