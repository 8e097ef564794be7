-- A connection plans what the function asks once, perhaps while the shop has sold next to nothing: it then read every item
-- ever sold to see whether a line was bought before, until the tables were analysed. The statement that takes the lines of
-- the cart was planned for every order. All are by keys, so one plan serves, and it uses the indexes.
ALTER FUNCTION place_order SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION place_order SET enable_seqscan = off;
