-- Not every letter of M-Pesa's is an STK callback: which door it came by, what its address proved, and the refund that
-- it speaks of.
ALTER TABLE daraja_inbox
    ADD COLUMN channel text NOT NULL DEFAULT 'stk',
    ADD COLUMN is_proven boolean NOT NULL DEFAULT false,
    ADD COLUMN refund integer;
COMMENT ON COLUMN daraja_inbox.is_proven IS
    'Its address held a token that only we can make. Letters that came before this column have a session instead.';
