-- What the application's role may do, given anew at each `daftari migrate`, in one commit, by the owner of the tables.
-- It starts from nothing: a table, a column or a function that is not listed here is closed to the application.
-- The name of the role is replaced if DAFTARI_APP_ROLE sets another.
--
-- The log and what proves it are written through functions alone. A column is listed for UPDATE if a process changes
-- it; what M-Pesa said, what was paid and what a person decided has no column here.

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM daftari_app;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM daftari_app;
GRANT USAGE ON SCHEMA public TO daftari_app;

-- Every function of ours: closed to PUBLIC, and one that runs with its owner's rights finds nothing of the caller's.
DO $$
DECLARE
    v_function record;
BEGIN
    FOR v_function IN
        SELECT oid::regprocedure AS name, prosecdef FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proowner = current_user::regrole
          AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, daftari_app', v_function.name);
        IF v_function.prosecdef THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, public, pg_temp', v_function.name);
        END IF;
    END LOOP;
END
$$;

-- The log.
GRANT SELECT ON ledger_node, payment_events, payment_sessions, payment_refs, schema_migrations, event_topics,
    event_mac_starts TO daftari_app;
GRANT EXECUTE ON FUNCTION reserve_reference, claim_reference, ledger_horizon, horizon_holder, sign_event_mac_start,
    append_events(uuid, integer, text[], text[], text[], bytea[], integer, bytea[], jsonb),
    append_events(uuid, integer, text[], text[], text, bytea[], integer, bytea[], jsonb),
    append_events(uuid, integer, text[], jsonb[], bytea[], jsonb) TO daftari_app;
GRANT SELECT ON signed_blocks, merkle_nodes TO daftari_app;
-- digest_of_events and add_signed_block are called by processes from before the tree.
GRANT EXECUTE ON FUNCTION digest_of_events, add_signed_block, add_signed_head TO daftari_app;
-- merkle_node_of and complete_merkle_nodes are for add_signed_head alone.

-- What people decided and read.
GRANT SELECT ON audit_log TO daftari_app;
GRANT EXECUTE ON FUNCTION record_audit_entry TO daftari_app;

-- Keys and secrets.
GRANT SELECT ON token_revocations TO daftari_app;
GRANT EXECUTE ON FUNCTION revoke_token, purge_revocations TO daftari_app;
GRANT SELECT, INSERT (key_id, name, role, prefix, last_four, digest, allowed_addresses, created_at, created_by,
                      expires_at, follows, mac),
    UPDATE (last_used_at)
    ON api_keys TO daftari_app;
GRANT EXECUTE ON FUNCTION revoke_api_key TO daftari_app;
GRANT SELECT, INSERT ON user_texts TO daftari_app;
GRANT SELECT, INSERT (purpose, key_id, wrapped_key, created_at) ON key_ring TO daftari_app;
GRANT SELECT, INSERT (user_id, wrapped_key, wrap_key_id, created_at) ON customer_keys TO daftari_app;
GRANT EXECUTE ON FUNCTION add_customer_key TO daftari_app;
GRANT SELECT ON customer_erasures TO daftari_app;
GRANT SELECT ON reencrypted_tables TO daftari_app;
GRANT EXECUTE ON FUNCTION erase_customer, replace_value_of_version_1, end_reencryption TO daftari_app;
GRANT SELECT ON sealed_settings TO daftari_app;
GRANT SELECT, INSERT, UPDATE (sealed_value, expires_at) ON access_tokens TO daftari_app;

-- Payments under way.
GRANT USAGE ON SEQUENCE payment_transaction_ids TO daftari_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON live_prompts, prompt_counts TO daftari_app;
GRANT EXECUTE ON FUNCTION prompt_refusal, lock_phone, acquire_phone_lock, release_phone_lock TO daftari_app;
GRANT SELECT ON checkouts TO daftari_app;
GRANT EXECUTE ON FUNCTION add_checkout TO daftari_app;
GRANT SELECT, INSERT, UPDATE (claimed_until, status, sealed_body), DELETE ON idempotency_keys TO daftari_app;
GRANT EXECUTE ON FUNCTION claim_idempotency_key, answer_idempotency_key TO daftari_app;
GRANT SELECT, INSERT, UPDATE (asked_at, tries, next_check_at, last_answer), DELETE
    ON attempt_checks, refund_checks TO daftari_app;
GRANT SELECT, INSERT, UPDATE (tokens, refilled_at, paused_until) ON question_budgets TO daftari_app;
GRANT SELECT, INSERT, UPDATE (granted), DELETE ON request_leases TO daftari_app;
GRANT SELECT, INSERT, UPDATE (failures, error, last_failed_at), DELETE ON order_failures TO daftari_app;

-- What is kept for a time only.
GRANT SELECT ON retention_kinds, retained_rows TO daftari_app;
GRANT EXECUTE ON FUNCTION purge_kind, held_customers, user_of_subject TO daftari_app;

-- Decisions of people: rows are only added.
GRANT SELECT, INSERT ON decision_proposals, decision_proposal_ends, switch_changes TO daftari_app;

-- What M-Pesa said.
-- Not `is_from_before`: the body of such a row is not bound to what the row tells of it.
GRANT SELECT, INSERT (inbox_id, received_at, channel, is_proven, session_id, attempt, refund, sending, key_owner,
                      sealed_body, body_bytes, body_sha256, state, reason, tries, next_try_at, settled_at,
                      phone_digests, erase_when_settled),
    UPDATE (state, reason, tries, next_try_at, settled_at, closed_by, note)
    ON daraja_inbox TO daftari_app;
GRANT SELECT ON session_messages TO daftari_app;
GRANT EXECUTE ON FUNCTION purge_unauthenticated_messages, mark_message_of_erased, store_settled_message TO daftari_app;
-- Not `is_from_before`: such a row needs no MAC until it is signed.
GRANT SELECT, INSERT (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence, transaction_id,
                      sealed_reference, linked_receipt, verdict, session_id, told, first_seen_at, settled_at,
                      closed_at, closed_by, note, payer_digest, category, journal_ordinal, mac),
    UPDATE (verdict, session_id, told, settled_at, evidence, amount_cents, happened_at,
            transaction_id, closed_at, closed_by, note, journal_ordinal, mac)
    ON mpesa_movements TO daftari_app;
GRANT SELECT, INSERT (ordinal, movement_key, kind, category, receipt, linked_receipt, money_in, amount_cents, occurred_at,
                      recorded_at, session_id, origin, after_position, mac)
    ON movement_log TO daftari_app;
-- Not `is_from_before`, as above.
GRANT SELECT, INSERT (reconciliation_id, started_at, finished_at, file_sha256, found, mac) ON reconciliations TO daftari_app;
GRANT SELECT, INSERT, UPDATE (state, tries, rows_done, rows_in_all, reconciliation_id, refusal), DELETE
    ON statement_uploads TO daftari_app;
GRANT SELECT, INSERT, DELETE ON statement_pieces TO daftari_app;
GRANT SELECT, INSERT, UPDATE (pulled_until, next_at) ON pull_progress TO daftari_app;
GRANT SELECT, INSERT, UPDATE (closed_at, closed_by) ON pull_gaps TO daftari_app;

-- Webhooks. Definitions of endpoints are encrypted for their rows.
GRANT SELECT, INSERT (endpoint_id, sealed_definition, created_at, changed_at, origin, position),
    UPDATE (sealed_definition, state, reason, changed_at, origin, position, failing_since, paused_until), DELETE
    ON webhook_endpoints TO daftari_app;
GRANT SELECT, INSERT (endpoint_id, session_id, version, type, queued_at, next_attempt_at),
    UPDATE (queued_at, state, attempts, tried_since, next_attempt_at, last_attempt_at, last_status, last_error, settled_at)
    ON webhook_deliveries TO daftari_app;

-- Projections, which a rebuild makes anew from the log, and how far each has read.
GRANT SELECT, INSERT, UPDATE, DELETE ON payment_metrics, payment_metrics_rebuilt, payment_figures,
    payment_figures_rebuilt, payment_refunds, payment_cases, projection_rebuilds_under_way TO daftari_app;
GRANT SELECT, INSERT, DELETE ON journal_entries, journal_entries_rebuilt TO daftari_app;
-- Written by triggers of journal_entries, for which alone fill_journal_days is.
GRANT SELECT ON journal_days TO daftari_app;
GRANT SELECT, INSERT, UPDATE (session_status, evidence, order_number), DELETE ON payment_search TO daftari_app;
GRANT SELECT ON payment_phones TO daftari_app;
GRANT EXECUTE ON FUNCTION index_phones TO daftari_app;
GRANT SELECT, INSERT, UPDATE (position) ON follower_positions TO daftari_app;
GRANT EXECUTE ON FUNCTION forget_position_of_rebuild, mend_session_rows TO daftari_app;
GRANT SELECT, INSERT, UPDATE (error, tries, next_try_at, state, closed_at, closed_by, note), DELETE
    ON follower_failures TO daftari_app;
GRANT SELECT, INSERT, UPDATE (version, rebuilt_at, projection_version, events, wrong_rows, differing_keys)
    ON projection_rebuilds TO daftari_app;
GRANT SELECT, INSERT ON verification_runs TO daftari_app;
GRANT EXECUTE ON FUNCTION purge_verification_runs TO daftari_app;

-- The views for analysts by which the dashboard is read. Of places it sees what analysts see.
REVOKE ALL ON ALL TABLES IN SCHEMA analytics FROM daftari_app;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA analytics FROM daftari_app;
GRANT USAGE ON SCHEMA analytics TO daftari_app;
GRANT SELECT ON analytics.payment_sessions, analytics.payment_metrics_hourly, analytics.failure_reasons_hourly,
    analytics.times_to_pay_hourly, analytics.times_to_pay_daily, analytics.projection_status, analytics.counties
    TO daftari_app;
GRANT EXECUTE ON FUNCTION analytics.county_figures(date) TO daftari_app;

-- Whether the database takes writes.
GRANT SELECT, UPDATE (written_at) ON write_probe TO daftari_app;

-- The built-in shop.
GRANT SELECT, INSERT ON shop_orders_ruled_out TO daftari_app;
GRANT SELECT ON shop_counties, shop_subcounties TO daftari_app;
GRANT SELECT, INSERT, UPDATE (farm_name, product_name, price_cents, unit_of_measure, unit_weight_grams,
                              stock_thousandths, withdrawn) ON shop_listings TO daftari_app;
GRANT SELECT, INSERT ON shop_stock_changes, shop_orders, shop_order_items, shop_returns TO daftari_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON shop_cart_items TO daftari_app;
GRANT SELECT ON shop_order_counters, shop_order_days TO daftari_app;
-- For processes from before allot_order: its trigger tells them to restart, where a missing right would be an error.
GRANT INSERT, UPDATE (last_number) ON shop_order_counters TO daftari_app;
-- The sequence shop_order_numbers is drawn from by allot_order alone.
GRANT EXECUTE ON FUNCTION allot_order, place_order TO daftari_app;
