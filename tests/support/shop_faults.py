"""A trigger by which the shop refuses every order, as a fault of its own would."""

REFUSES_ORDERS = """
CREATE FUNCTION refuse_to_work() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the shop is broken' USING ERRCODE = '{code}';
END
$$;
CREATE TRIGGER breaks BEFORE INSERT ON shop_orders FOR EACH ROW EXECUTE FUNCTION refuse_to_work()
"""
