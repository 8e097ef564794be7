CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS products (sku TEXT PRIMARY KEY, name TEXT NOT NULL, price_cents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users,
    sku TEXT NOT NULL REFERENCES products,
    quantity INTEGER NOT NULL,
    total_cents INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'open',
    version INTEGER NOT NULL DEFAULT 0,
    receipt TEXT
);
CREATE TABLE IF NOT EXISTS taken_webhooks (id TEXT PRIMARY KEY);
INSERT OR IGNORE INTO products VALUES
    ('HONEY-500', 'Acacia honey, 500 g', 65000),
    ('KIKOI-RED', 'Kikoi, red', 120000),
    ('TEA-250', 'Purple tea, 250 g', 48050);
