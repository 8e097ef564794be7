-- The same shop and the same payments as plain rows.

CREATE TABLE products (
    listing_id      bigint  PRIMARY KEY,
    product_name    text    NOT NULL,
    farm_name       text    NOT NULL,
    unit_of_measure text    NOT NULL,
    stock           numeric NOT NULL CHECK (stock >= 0)
);
CREATE TABLE subcounties (
    subcounty_id integer PRIMARY KEY,
    county_id    integer NOT NULL
);
CREATE TABLE cart_items (
    cart_item_id bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id      bigint  NOT NULL,
    listing_id   bigint  NOT NULL REFERENCES products,
    quantity     numeric NOT NULL CHECK (quantity > 0),
    price        numeric NOT NULL,
    UNIQUE (user_id, listing_id)
);
CREATE TABLE orders (
    order_id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_number     text        NOT NULL UNIQUE,
    user_id          bigint      NOT NULL,
    total_amount     numeric     NOT NULL,
    delivery_details jsonb       NOT NULL,
    order_status     text        NOT NULL DEFAULT 'confirmed',
    payment_status   text        NOT NULL DEFAULT 'paid',
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON orders (user_id);
CREATE TABLE order_items (
    order_id   bigint  NOT NULL REFERENCES orders,
    listing_id bigint  NOT NULL REFERENCES products,
    quantity   numeric NOT NULL,
    price      numeric NOT NULL,
    subtotal   numeric NOT NULL,
    PRIMARY KEY (order_id, listing_id)
);
CREATE SEQUENCE order_numbers;
CREATE TABLE payment_sessions (
    session_id       uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id          bigint      NOT NULL,
    cart_snapshot    jsonb       NOT NULL,
    delivery_details jsonb       NOT NULL,
    delivery_fee     numeric     NOT NULL,
    total_amount     numeric     NOT NULL,
    phone_number     text        NOT NULL,
    session_status   text        NOT NULL DEFAULT 'pending',
    order_id         bigint      REFERENCES orders,
    created_at       timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL
);
CREATE INDEX ON payment_sessions (user_id, created_at DESC);
CREATE TABLE payment_transactions (
    transaction_id      bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id          uuid    NOT NULL REFERENCES payment_sessions,
    phone_number        text    NOT NULL,
    amount              numeric NOT NULL,
    checkout_request_id text    UNIQUE,
    receipt             text    UNIQUE,
    status              text    NOT NULL DEFAULT 'pending'
);
CREATE INDEX ON payment_transactions (session_id);
