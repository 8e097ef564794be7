-- The rights of the application's role, given anew after each migration. It may call append_events and read the
-- log; it cannot rewrite it. Where the migrating role may not create roles, processes run as that role instead,
-- and the triggers alone keep the log append-only.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daftari_app') THEN
        CREATE ROLE daftari_app NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE WARNING 'cannot create the role daftari_app; create it and run the migration again';
END
$$;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daftari_app') THEN
        RETURN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO daftari_app', current_schema());
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO daftari_app', current_schema());
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO daftari_app', current_schema());
    REVOKE INSERT, UPDATE, DELETE ON payment_events, payment_sessions, payment_refs, ledger_node, schema_migrations
        FROM daftari_app;
    REVOKE UPDATE, DELETE ON signed_blocks, key_ring FROM daftari_app;
    REVOKE INSERT, UPDATE, DELETE ON audit_log FROM daftari_app;
    REVOKE ALL ON FUNCTION append_events, reserve_reference, record_audit_entry FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION append_events, reserve_reference, record_audit_entry, ledger_horizon TO daftari_app;
    IF NOT pg_has_role(current_user, 'daftari_app', 'MEMBER') THEN
        EXECUTE format('GRANT daftari_app TO %I', current_user);
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'cannot grant rights to daftari_app: %', SQLERRM;
END
$$;
