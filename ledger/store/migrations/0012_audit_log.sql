-- What people and policies decided, and which personal data was read by whom and why: written once, never changed.
CREATE TABLE audit_log (
    entry_id uuid PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    kind text NOT NULL CHECK (length(kind) BETWEEN 1 AND 60),
    actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 100),
    subject text NOT NULL CHECK (length(subject) <= 200),
    reason text NOT NULL CHECK (length(reason) <= 1000),
    details jsonb NOT NULL CHECK (jsonb_typeof(details) = 'object' AND pg_column_size(details) <= 65536),
    key_id integer NOT NULL,
    mac bytea NOT NULL CHECK (octet_length(mac) = 32)
);
CREATE INDEX audit_log_latest ON audit_log (recorded_at DESC, entry_id DESC);
CREATE INDEX audit_log_of_subject ON audit_log (subject, recorded_at DESC, entry_id DESC);
COMMENT ON COLUMN audit_log.actor IS 'user:42, cli:user:42, policy:auto or system.';
COMMENT ON COLUMN audit_log.mac IS
    'HMAC-SHA256 of the canonical JSON of all other columns, under the key key_id for the purpose "audit log".';

CREATE TRIGGER audit_log_is_final BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite();
CREATE TRIGGER audit_log_is_kept BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite();

CREATE FUNCTION record_audit_entry(
    p_entry_id uuid, p_recorded_at timestamptz, p_kind text, p_actor text, p_subject text, p_reason text,
    p_details jsonb, p_key_id integer, p_mac bytea
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    INSERT INTO public.audit_log (entry_id, recorded_at, kind, actor, subject, reason, details, key_id, mac)
    VALUES (p_entry_id, p_recorded_at, p_kind, p_actor, p_subject, p_reason, p_details, p_key_id, p_mac)
$$;
