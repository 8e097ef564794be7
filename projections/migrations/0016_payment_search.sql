-- Where auditors find payments: what payment_sessions says, in the order of lists, beside the table that each payment moves.
CREATE TABLE payment_search (
    session_id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    total_cents bigint NOT NULL,
    session_status text NOT NULL,
    evidence text,
    order_number text
);
CREATE INDEX payment_search_amount ON payment_search (total_cents, created_at, session_id);
CREATE INDEX payment_search_status ON payment_search (session_status, created_at, session_id);
CREATE INDEX payment_search_evidence ON payment_search (evidence, created_at, session_id) WHERE evidence IS NOT NULL;
CREATE INDEX payment_search_order ON payment_search (order_number) WHERE order_number IS NOT NULL;
COMMENT ON TABLE payment_search IS
    'By what auditors find sessions: copied from payment_sessions, seconds behind it.';

CREATE TABLE payment_phones (
    phone_digest bytea NOT NULL CHECK (octet_length(phone_digest) = 32),
    created_at timestamptz NOT NULL,
    session_id uuid NOT NULL,
    user_id bigint NOT NULL,
    PRIMARY KEY (phone_digest, created_at, session_id)
);
CREATE INDEX payment_phones_user ON payment_phones (user_id);
COMMENT ON TABLE payment_phones IS
    'A blind index of the phones that sessions name; the rows of a customer are deleted by their erasure.';
COMMENT ON COLUMN payment_phones.phone_digest IS
    'HMAC-SHA256 of the twelve digits, by a key of the ring for "phone search".';

-- Indexes phones of sessions, but of no customer who was erased: an erasure waits until what is being indexed is
-- committed, and what is indexed after it sees the erasure.
CREATE FUNCTION index_phones(p_session_ids uuid[], p_digests bytea[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_indexed integer;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('daftari payment_phones', 0));
    INSERT INTO public.payment_phones (phone_digest, created_at, session_id, user_id)
    SELECT DISTINCT named.digest, session.created_at, session.session_id, session.user_id
    FROM unnest(p_session_ids, p_digests) AS named (session_id, digest)
    JOIN public.payment_sessions AS session USING (session_id)
    WHERE NOT EXISTS (SELECT FROM public.customer_erasures AS erasure WHERE erasure.user_id = session.user_id)
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_indexed = ROW_COUNT;
    RETURN v_indexed;
END
$$;

CREATE FUNCTION forget_phones_of_erased() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('daftari payment_phones', 0));
    DELETE FROM public.payment_phones WHERE user_id = NEW.user_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER customer_erasures_forget_phones AFTER INSERT ON customer_erasures
    FOR EACH ROW EXECUTE FUNCTION forget_phones_of_erased();
