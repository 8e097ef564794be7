-- The statement of a status poll of the plain rows.
SELECT session_id, session_status, s.created_at, expires_at, order_id, order_number, order_status, payment_status
  FROM payment_sessions s LEFT JOIN orders USING (order_id) WHERE session_id = :session_id AND s.user_id = :user;
