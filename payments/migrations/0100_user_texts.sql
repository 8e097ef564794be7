-- Users whom tokens and checkouts name by a text, such as a UUID: each has a number here, by which all else knows them.
CREATE TABLE user_texts (
    user_id bigint PRIMARY KEY CHECK (user_id BETWEEN 4503599627370496 AND 9007199254740991),
    digest text NOT NULL UNIQUE CHECK (digest ~ '^[0-9a-f]{64}$'),
    sealed_text text NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE user_texts IS 'The numbers of users whom tokens and checkouts name by a text; a row goes when its user is erased.';
COMMENT ON COLUMN user_texts.user_id IS 'From 2^52 to 2^53 - 1, which no token may claim as a number.';
COMMENT ON COLUMN user_texts.digest IS 'Keyed digest of the text.';
COMMENT ON COLUMN user_texts.sealed_text IS 'The text, encrypted for this user: a row whose text does not open is not believed.';

CREATE FUNCTION forget_text_of_erased() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM public.user_texts WHERE user_id = NEW.user_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER customer_erasures_forget_text AFTER INSERT ON customer_erasures
    FOR EACH ROW EXECUTE FUNCTION forget_text_of_erased();
