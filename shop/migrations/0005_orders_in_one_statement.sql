-- Orders are made by one function, which a payment's own commit may call. Ids and numbers are drawn before: a sequence
-- waits for nobody's commit, where a counter in a row held all orders of a day through each flush.

CREATE SEQUENCE shop_order_numbers;
COMMENT ON SEQUENCE shop_order_numbers IS 'What orders are numbered by on all days; see shop_order_days.';

CREATE TABLE shop_order_days (
    day date PRIMARY KEY,
    before_first bigint NOT NULL
);
COMMENT ON TABLE shop_order_days IS 'Where the numbers of each day of Nairobi begin. Written once a day.';
COMMENT ON COLUMN shop_order_days.before_first IS
    'The value of shop_order_numbers that is number 0 of the day. Numbers may have gaps, and none is given twice.';

-- Draws the id and the number of an order of a day. A day that the release before has counted goes on after its last
-- number. The row of the day is there before a number is drawn, so that all numbers of the day are above it.
CREATE FUNCTION allot_order(p_day date) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_before bigint;
BEGIN
    SELECT before_first INTO v_before FROM public.shop_order_days WHERE day = p_day;
    IF NOT FOUND THEN
        INSERT INTO public.shop_order_days (day, before_first)
        VALUES (p_day, nextval('public.shop_order_numbers')
                       - coalesce((SELECT last_number FROM public.shop_order_counters WHERE day = p_day), 0))
        ON CONFLICT (day) DO NOTHING;
        SELECT before_first INTO STRICT v_before FROM public.shop_order_days WHERE day = p_day;
    END IF;
    RETURN ARRAY[nextval('public.shop_orders_order_id_seq'), nextval('public.shop_order_numbers') - v_before];
END
$$;

-- A process from before this migration numbers orders by the counters, and would give a paid order up, and its money
-- back, after two minutes of other errors; the code is one that it takes for an outage.
CREATE FUNCTION refuse_counted_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the database was migrated: restart this process on the new release' USING ERRCODE = '57DF1';
END
$$;
CREATE TRIGGER shop_order_counters_are_closed BEFORE INSERT OR UPDATE ON shop_order_counters
    EXECUTE FUNCTION refuse_counted_orders();

-- Makes the order of a paid session, all or nothing: takes stock and cart lines. p_lines is a JSON array of the lines as
-- the session keeps them. Raises DS001 where the session has its order, DS002 where its order was ruled out, DS003 where
-- a line was bought with another payment; where stock is short, with the names of the products as detail, DS004, or DS005
-- if one of them is no longer on sale.
--
-- All orders take their locks in one sequence, so that they cannot deadlock: the listings by id, then the buyer's lines.
-- A rival for the same lines locks the same listings, so that what is read behind the lock cannot race.
CREATE FUNCTION place_order(
    p_order_id bigint, p_order_number text, p_session_id uuid, p_user_id bigint, p_lines jsonb,
    p_delivery_fee_cents bigint, p_total_cents bigint, p_sealed_delivery_details text, p_placed_at timestamptz
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_items bigint[]; v_quantities bigint[]; v_listings bigint[]; v_asked bigint[]; v_items_cents bigint;
    v_taken integer; v_short text; v_withdrawn boolean;
BEGIN
    SELECT array_agg(cart_item_id), array_agg(quantity_thousandths), sum(subtotal_cents)
      INTO v_items, v_quantities, v_items_cents
      FROM jsonb_to_recordset(p_lines) AS line (cart_item_id bigint, quantity_thousandths bigint, subtotal_cents bigint);
    SELECT array_agg(listing_id), array_agg(thousandths) INTO v_listings, v_asked
      FROM (SELECT listing_id, sum(quantity_thousandths)::bigint AS thousandths
              FROM jsonb_to_recordset(p_lines) AS line (listing_id bigint, quantity_thousandths bigint)
             WHERE listing_id IS NOT NULL GROUP BY listing_id) AS asked;
    -- Changes of carts lock only the key of a listing, so FOR NO KEY UPDATE does not block them.
    PERFORM FROM shop_listings WHERE listing_id = ANY (v_listings) ORDER BY listing_id FOR NO KEY UPDATE;

    IF EXISTS (SELECT FROM shop_orders WHERE session_id = p_session_id) THEN
        RAISE EXCEPTION 'session % has its order', p_session_id USING ERRCODE = 'DS001';
    END IF;
    IF EXISTS (SELECT FROM shop_orders_ruled_out WHERE session_id = p_session_id) THEN
        RAISE EXCEPTION 'the order of session % is ruled out', p_session_id USING ERRCODE = 'DS002';
    END IF;
    IF EXISTS (SELECT FROM shop_order_items WHERE cart_item_id = ANY (v_items)) THEN
        RAISE EXCEPTION 'a line of session % is bought already', p_session_id USING ERRCODE = 'DS003';
    END IF;

    UPDATE shop_listings AS listing SET stock_thousandths = listing.stock_thousandths - asked.thousandths
      FROM unnest(v_listings, v_asked) AS asked (listing_id, thousandths)
     WHERE listing.listing_id = asked.listing_id AND NOT listing.withdrawn
       AND listing.stock_thousandths >= asked.thousandths;
    GET DIAGNOSTICS v_taken = ROW_COUNT;
    IF v_taken <> coalesce(cardinality(v_listings), 0) THEN
        SELECT string_agg(line.product_name, ', '), bool_or(coalesce(listing.withdrawn, true)) INTO v_short, v_withdrawn
          FROM unnest(v_listings, v_asked) WITH ORDINALITY AS asked (listing_id, thousandths, place)
          JOIN LATERAL (SELECT product_name FROM jsonb_to_recordset(p_lines) AS line (listing_id bigint, product_name text)
                         WHERE line.listing_id = asked.listing_id LIMIT 1) AS line ON true
          LEFT JOIN shop_listings AS listing ON listing.listing_id = asked.listing_id
         WHERE coalesce(listing.withdrawn, true) OR listing.stock_thousandths < asked.thousandths;
        RAISE EXCEPTION 'there is not enough for session %', p_session_id
            USING ERRCODE = CASE WHEN v_withdrawn THEN 'DS005' ELSE 'DS004' END, DETAIL = v_short;
    END IF;

    -- A remainder keeps the price at which the line was put into the cart.
    WITH gone AS (
        DELETE FROM shop_cart_items AS line
         USING unnest(v_items, v_quantities) AS bought (cart_item_id, thousandths)
         WHERE line.cart_item_id = bought.cart_item_id AND line.user_id = p_user_id
        RETURNING line.user_id, line.listing_id, line.quantity_thousandths - bought.thousandths AS rest, line.price_cents
    )
    INSERT INTO shop_cart_items (user_id, listing_id, quantity_thousandths, price_cents)
    SELECT user_id, listing_id, rest, price_cents FROM gone WHERE rest > 0;

    INSERT INTO shop_orders (order_id, order_number, session_id, user_id, items_cents, delivery_fee_cents,
                             rounding_cents, total_cents, sealed_delivery_details, placed_at)
    OVERRIDING SYSTEM VALUE
    VALUES (p_order_id, p_order_number, p_session_id, p_user_id, v_items_cents, p_delivery_fee_cents,
            p_total_cents - v_items_cents - p_delivery_fee_cents, p_total_cents, p_sealed_delivery_details, p_placed_at);
    INSERT INTO shop_order_items (order_id, cart_item_id, listing_id, product_name, farm_name, quantity_thousandths,
                                  price_cents, subtotal_cents, unit_of_measure)
    SELECT p_order_id, line.*
      FROM jsonb_to_recordset(p_lines) AS line (cart_item_id bigint, listing_id bigint, product_name text,
          farm_name text, quantity_thousandths bigint, price_cents bigint, subtotal_cents bigint, unit_of_measure text);
    RETURN p_order_id;
END
$$;
