-- The worker encrypts values of version 1 anew. It may not write these columns otherwise, so a function replaces a value
-- of version 1, and none once everything is done. Rows that changed meanwhile stay as they are.
CREATE FUNCTION replace_value_of_version_1(
    p_table text, p_owner bigint, p_row text, p_old text, p_new text, p_phone_digests text[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF p_old NOT LIKE 'v1.%' OR (p_new NOT LIKE 'v2.%' AND p_new <> 'erased')
       OR EXISTS (SELECT FROM public.reencrypted_tables WHERE name = 'everything') THEN
        RETURN;
    END IF;
    CASE p_table
        WHEN 'sealed_settings' THEN
            UPDATE public.sealed_settings SET sealed_value = p_new WHERE name = p_row AND sealed_value = p_old;
        WHEN 'access_tokens' THEN
            UPDATE public.access_tokens SET sealed_value = p_new WHERE consumer = p_row AND sealed_value = p_old;
        WHEN 'idempotency_keys' THEN
            UPDATE public.idempotency_keys SET sealed_body = p_new
            WHERE user_id = p_owner AND key = p_row AND sealed_body = p_old;
        WHEN 'mpesa_movements' THEN
            UPDATE public.mpesa_movements SET sealed_reference = p_new
            WHERE movement_key = p_row AND sealed_reference = p_old;
        WHEN 'daraja_inbox' THEN
            UPDATE public.daraja_inbox
            SET sealed_body = p_new, phone_digests = coalesce(p_phone_digests, phone_digests)
            WHERE inbox_id = p_row::uuid AND sealed_body = p_old;
        WHEN 'shop_orders' THEN
            UPDATE public.shop_orders SET sealed_delivery_details = p_new
            WHERE session_id = p_row::uuid AND sealed_delivery_details = p_old;
    END CASE;
END
$$;

-- Says that nothing of version 1 is left outside of events, so that it is refused there from now on; returns whether
-- that is so. A process of the release before that still runs may store more: unless somebody says that none does, a day
-- has to pass since the migration.
CREATE FUNCTION end_reencryption(p_no_old_process boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM public.reencrypted_tables WHERE name = 'everything') THEN
        RETURN true;
    END IF;
    IF NOT p_no_old_process AND EXISTS (
            SELECT FROM public.schema_migrations WHERE package = 'ledger.store'
            AND name = '0015_encrypted_values.sql' AND applied_at > clock_timestamp() - interval '1 day')
       OR EXISTS (SELECT FROM public.sealed_settings WHERE sealed_value LIKE 'v1.%')
       OR EXISTS (SELECT FROM public.access_tokens WHERE sealed_value LIKE 'v1.%')
       OR EXISTS (SELECT FROM public.idempotency_keys WHERE sealed_body LIKE 'v1.%')
       OR EXISTS (SELECT FROM public.mpesa_movements WHERE sealed_reference LIKE 'v1.%')
       OR EXISTS (SELECT FROM public.daraja_inbox WHERE sealed_body LIKE 'v1.%')
       OR EXISTS (SELECT FROM public.shop_orders WHERE sealed_delivery_details LIKE 'v1.%') THEN
        RETURN false;
    END IF;
    INSERT INTO public.reencrypted_tables (name, done_at) VALUES ('everything', clock_timestamp())
    ON CONFLICT (name) DO NOTHING;
    RETURN true;
END
$$;
