-- The statements of the plain rows for one lifecycle with two polls, in the transactions in which they send them.
\set user random(100000000, 2000000000)
\set receipt random(1, 9000000000000000000)
SELECT FROM subcounties WHERE subcounty_id = 5 AND county_id = 1;
SELECT cart_item_id, listing_id, product_name, farm_name, quantity, price, quantity * price AS subtotal, unit_of_measure
  FROM cart_items JOIN products USING (listing_id) WHERE user_id = :user ORDER BY cart_item_id;
INSERT INTO payment_sessions (user_id, cart_snapshot, delivery_details, delivery_fee, total_amount, phone_number,
                              created_at, expires_at)
VALUES (:user, '{"items": [{"cart_item_id": 1, "listing_id": 101, "product_name": "Irish Potatoes", "farm_name": "Kinangop Highlands Farm", "quantity": 2.0, "price_at_addition": 80.0, "subtotal": 160.0, "unit_of_measure": "kg"}, {"cart_item_id": 2, "listing_id": 105, "product_name": "Mwea Pishori Rice", "farm_name": "Mwea Rice Growers", "quantity": 1.0, "price_at_addition": 220.0, "subtotal": 220.0, "unit_of_measure": "kg"}, {"cart_item_id": 3, "listing_id": 114, "product_name": "Green Bananas (Matoke)", "farm_name": "Kisii Banana Growers", "quantity": 3.0, "price_at_addition": 120.0, "subtotal": 360.0, "unit_of_measure": "kg"}], "total_items": 3, "total_cost": 740.0}',
        '{"full_name": "Wanjiku Kamau", "phone_number": "0712345678", "county_id": 1, "subcounty_id": 5, "detailed_address": "123 Main Street, Apartment 4B"}',
        50, 790, '0712345678', now(), now() + interval '15 minutes')
RETURNING session_id, cart_snapshot->'items' AS items \gset
BEGIN;
SELECT * FROM payment_sessions WHERE session_id = :session_id FOR UPDATE;
SELECT FROM jsonb_to_recordset(:items::jsonb) AS item (listing_id bigint, quantity numeric) JOIN products USING (listing_id)
 WHERE stock < item.quantity LIMIT 1;
INSERT INTO payment_transactions (session_id, phone_number, amount) VALUES (:session_id, '254712345678', 790)
RETURNING transaction_id \gset
UPDATE payment_sessions SET session_status = 'payment_initiated' WHERE session_id = :session_id;
COMMIT;
UPDATE payment_transactions SET checkout_request_id = 'ws_CO_' || :receipt::text WHERE transaction_id = :transaction_id;
SELECT session_id, session_status, s.created_at, expires_at, order_id, order_number, order_status, payment_status
  FROM payment_sessions s LEFT JOIN orders USING (order_id) WHERE session_id = :session_id AND s.user_id = :user;
BEGIN;
SELECT * FROM payment_sessions WHERE session_id = :session_id FOR UPDATE;
UPDATE payment_transactions SET status = 'paid', receipt = 'R' || :receipt::text
 WHERE transaction_id = (SELECT max(transaction_id) FROM payment_transactions WHERE session_id = :session_id);
SELECT FROM products WHERE listing_id IN (SELECT (item->>'listing_id')::bigint FROM jsonb_array_elements(:items::jsonb) AS item)
 ORDER BY listing_id FOR NO KEY UPDATE;
UPDATE products SET stock = stock - item.quantity FROM jsonb_to_recordset(:items::jsonb) AS item (listing_id bigint, quantity numeric)
 WHERE products.listing_id = item.listing_id;
INSERT INTO orders (order_number, user_id, total_amount, delivery_details)
VALUES ('ORD-' || to_char(now(), 'YYYYMMDD') || '-' || nextval('order_numbers'), :user, 790, '{"full_name": "Wanjiku Kamau"}')
RETURNING order_id \gset
INSERT INTO order_items (order_id, listing_id, quantity, price, subtotal)
SELECT :order_id, listing_id, quantity, price_at_addition, subtotal FROM jsonb_to_recordset(:items::jsonb)
    AS item (listing_id bigint, quantity numeric, price_at_addition numeric, subtotal numeric);
DELETE FROM cart_items WHERE user_id = :user;
UPDATE payment_sessions SET session_status = 'order_created', order_id = :order_id WHERE session_id = :session_id;
COMMIT;
SELECT session_id, session_status, s.created_at, expires_at, order_id, order_number, order_status, payment_status
  FROM payment_sessions s LEFT JOIN orders USING (order_id) WHERE session_id = :session_id AND s.user_id = :user;
