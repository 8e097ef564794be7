-- Refunds of money of an order, which a person decides.
ALTER TABLE payment_refunds
    ADD COLUMN of_order boolean NOT NULL DEFAULT false,
    ADD COLUMN decided_by text,
    ADD COLUMN reason text,
    ADD COLUMN restock boolean NOT NULL DEFAULT false;
ALTER TABLE payment_refunds_rebuilt
    ADD COLUMN of_order boolean NOT NULL DEFAULT false,
    ADD COLUMN decided_by text,
    ADD COLUMN reason text,
    ADD COLUMN restock boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN payment_refunds.of_order IS 'Whether it is money of the order that was made.';
COMMENT ON COLUMN payment_refunds.restock IS 'Whether the goods of the order went back on the shelf.';
