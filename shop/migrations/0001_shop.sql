-- The built-in shop: catalogue, carts, places, orders. Money is whole cents, quantities are whole thousandths.

CREATE TABLE shop_listings (
    listing_id        bigint  PRIMARY KEY CHECK (listing_id > 0),
    farm_name         text    NOT NULL,
    product_name      text    NOT NULL,
    price_cents       bigint  NOT NULL CHECK (price_cents > 0),
    unit_of_measure   text    NOT NULL,
    unit_weight_grams integer NOT NULL CHECK (unit_weight_grams >= 0),
    stock_thousandths bigint  NOT NULL DEFAULT 0 CHECK (stock_thousandths >= 0),
    withdrawn         boolean NOT NULL DEFAULT false
)
-- Every order rewrites the stock of what it buys: room on the page keeps those updates out of the index.
WITH (fillfactor = 70);

-- Why stock rose or fell other than by a sale, so that stock = stocked - sold can be verified at any time.
CREATE TABLE shop_stock_changes (
    stock_change_id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    listing_id         bigint      NOT NULL REFERENCES shop_listings,
    change_thousandths bigint      NOT NULL CHECK (change_thousandths <> 0),
    reason             text        NOT NULL,
    changed_by         bigint,
    changed_at         timestamptz NOT NULL
);
CREATE INDEX shop_stock_changes_by_listing ON shop_stock_changes (listing_id);

CREATE TABLE shop_cart_items (
    cart_item_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id              bigint NOT NULL,
    listing_id           bigint NOT NULL REFERENCES shop_listings,
    quantity_thousandths bigint NOT NULL CHECK (quantity_thousandths > 0),
    price_cents          bigint NOT NULL CHECK (price_cents > 0),
    UNIQUE (user_id, listing_id)
);

CREATE TABLE shop_counties (
    county_id integer PRIMARY KEY,
    name      text    NOT NULL UNIQUE
);

CREATE TABLE shop_subcounties (
    subcounty_id integer PRIMARY KEY,
    county_id    integer NOT NULL REFERENCES shop_counties,
    name         text    NOT NULL,
    UNIQUE (county_id, name)
);

CREATE TABLE shop_orders (
    order_id                bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_number            text        NOT NULL UNIQUE,
    session_id              uuid        NOT NULL UNIQUE,
    user_id                 bigint      NOT NULL,
    items_cents             bigint      NOT NULL CHECK (items_cents > 0),
    delivery_fee_cents      bigint      NOT NULL CHECK (delivery_fee_cents >= 0),
    rounding_cents          bigint      NOT NULL CHECK (rounding_cents BETWEEN -50 AND 50),
    total_cents             bigint      NOT NULL,
    sealed_delivery_details text        NOT NULL,
    order_status            text        NOT NULL DEFAULT 'confirmed',
    payment_status          text        NOT NULL DEFAULT 'paid',
    placed_at               timestamptz NOT NULL,
    CHECK (total_cents = items_cents + delivery_fee_cents + rounding_cents)
);
CREATE INDEX shop_orders_by_user ON shop_orders (user_id, order_id);

-- The primary key is the rule that a cart line is bought once, whatever the number of payment sessions.
CREATE TABLE shop_order_items (
    cart_item_id         bigint PRIMARY KEY,
    order_id             bigint NOT NULL REFERENCES shop_orders,
    listing_id           bigint NOT NULL REFERENCES shop_listings,
    product_name         text   NOT NULL,
    farm_name            text   NOT NULL,
    quantity_thousandths bigint NOT NULL CHECK (quantity_thousandths > 0),
    price_cents          bigint NOT NULL CHECK (price_cents > 0),
    subtotal_cents       bigint NOT NULL,
    unit_of_measure      text   NOT NULL
);
CREATE INDEX shop_order_items_by_order ON shop_order_items (order_id);
CREATE INDEX shop_order_items_by_listing ON shop_order_items (listing_id);

-- The last order number given out on each day of Nairobi.
CREATE TABLE shop_order_counters (
    day         date    PRIMARY KEY,
    last_number integer NOT NULL CHECK (last_number > 0)
);
