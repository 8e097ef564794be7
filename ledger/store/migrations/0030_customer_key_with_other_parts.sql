-- A new customer's key is written in the commit of their first event. Another process that made one in the same moment
-- wins: what was encrypted with this one must not be kept, so the whole statement is refused.
CREATE FUNCTION add_customer_key(p_user bigint, p_wrapped_key bytea, p_wrap_key_id integer, p_now timestamptz)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO customer_keys (user_id, wrapped_key, wrap_key_id, created_at)
    VALUES (p_user, p_wrapped_key, p_wrap_key_id, p_now)
    ON CONFLICT (user_id) DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'DF005', MESSAGE = 'the customer has a key';
    END IF;
    RETURN true;
END
$$;
