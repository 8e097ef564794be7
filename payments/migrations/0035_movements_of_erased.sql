-- Money that comes late for an erased customer is recorded without who paid and what they typed.
CREATE FUNCTION forget_payer_of_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM public.payment_sessions JOIN public.customer_keys USING (user_id)
               WHERE session_id = NEW.session_id AND destroyed_at IS NOT NULL) THEN
        NEW.payer_digest := NULL;
        NEW.sealed_reference := NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER mpesa_movements_of_erased BEFORE INSERT OR UPDATE ON mpesa_movements FOR EACH ROW
    WHEN (NEW.session_id IS NOT NULL AND (NEW.payer_digest IS NOT NULL OR NEW.sealed_reference IS NOT NULL))
    EXECUTE FUNCTION forget_payer_of_erased();
