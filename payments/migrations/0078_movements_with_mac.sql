-- Each movement carries a MAC that the database cannot make; one without it is not believed. Rows from before are marked,
-- so that the worker signs them once: the application's login may not set the mark, and a MAC is never taken away.
ALTER TABLE mpesa_movements ADD COLUMN mac text, ADD COLUMN is_from_before boolean NOT NULL DEFAULT true;
ALTER TABLE mpesa_movements ALTER COLUMN is_from_before SET DEFAULT false;
COMMENT ON COLUMN mpesa_movements.mac IS 'Number of the key, a point, and HMAC-SHA256 of what M-Pesa told, in hexadecimal.';
COMMENT ON COLUMN mpesa_movements.is_from_before IS 'Whether it was stored before movements had a MAC.';
CREATE INDEX mpesa_movements_unsigned ON mpesa_movements (movement_key) WHERE is_from_before AND mac IS NULL;

CREATE FUNCTION refuse_to_unsign() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the MAC of a movement is not taken away' USING ERRCODE = 'DF003';
END
$$;
CREATE TRIGGER mpesa_movements_stay_signed BEFORE UPDATE ON mpesa_movements FOR EACH ROW
    WHEN (OLD.mac IS NOT NULL AND NEW.mac IS NULL) EXECUTE FUNCTION refuse_to_unsign();
