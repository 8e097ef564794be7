-- Sessions that a shop's server made, each with the key that may use it and the caller's reference of it.
CREATE TABLE checkouts (
    session_id uuid PRIMARY KEY,
    key_name text NOT NULL CHECK (char_length(key_name) <= 200),
    reference_digest text CHECK (reference_digest ~ '^[0-9a-f]{64}$'),
    sealed_urls text CHECK (octet_length(sealed_urls) <= 16384),
    has_buyer boolean NOT NULL,
    created_at timestamptz NOT NULL CHECK (created_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'),
    expires_at timestamptz NOT NULL CHECK (expires_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'),
    mac text NOT NULL CHECK (char_length(mac) <= 100)
);
CREATE UNIQUE INDEX checkouts_reference ON checkouts (reference_digest, key_name) WHERE reference_digest IS NOT NULL;
CREATE INDEX checkouts_of_key ON checkouts (key_name, created_at DESC, session_id DESC);
CREATE INDEX checkouts_without_buyer ON checkouts (key_name, expires_at) WHERE NOT has_buyer;
COMMENT ON TABLE checkouts IS
    'The sessions that server keys made. A reference is unique within its key''s name; erasing the buyer deletes its digest.';
COMMENT ON COLUMN checkouts.key_name IS 'The name of the key; a rotated key keeps it.';
COMMENT ON COLUMN checkouts.reference_digest IS 'Keyed digest of the caller''s reference; NULL without one, or once erased.';
COMMENT ON COLUMN checkouts.sealed_urls IS 'Where the buyer is sent back to, encrypted with the buyer''s key.';
COMMENT ON COLUMN checkouts.has_buyer IS 'Whether the caller named the buyer; else the session has a user of its own.';
COMMENT ON COLUMN checkouts.expires_at IS 'When the session expired as it was created; extensions are in its events.';
COMMENT ON COLUMN checkouts.mac IS 'Number of the key, a point, and HMAC-SHA256 over session and name.';

-- Adds the row of a new session, in the commit of its first event. A reference that the key has used raises DF012, so that
-- nothing of the statement stays. Of a buyer who was erased meanwhile neither digest nor addresses are kept.
CREATE FUNCTION add_checkout(
    p_session_id uuid, p_user bigint, p_key_name text, p_reference_digest text, p_sealed_urls text, p_has_buyer boolean,
    p_created_at timestamptz, p_expires_at timestamptz, p_mac text
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_kept boolean;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('daftari checkouts of ' || p_user, 0));
    v_kept := NOT EXISTS (SELECT FROM public.customer_erasures WHERE user_id = p_user);
    INSERT INTO public.checkouts
    VALUES (p_session_id, p_key_name, CASE WHEN v_kept THEN p_reference_digest END,
            CASE WHEN v_kept THEN p_sealed_urls END, p_has_buyer, p_created_at, p_expires_at, p_mac)
    ON CONFLICT (reference_digest, key_name) WHERE reference_digest IS NOT NULL DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'DF012', MESSAGE = 'the key has a checkout with this reference';
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION forget_checkouts_of_erased() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('daftari checkouts of ' || NEW.user_id, 0));
    UPDATE public.checkouts SET reference_digest = NULL, sealed_urls = NULL
    WHERE session_id IN (SELECT session_id FROM public.payment_sessions WHERE user_id = NEW.user_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER customer_erasures_forget_checkouts AFTER INSERT ON customer_erasures
    FOR EACH ROW EXECUTE FUNCTION forget_checkouts_of_erased();
