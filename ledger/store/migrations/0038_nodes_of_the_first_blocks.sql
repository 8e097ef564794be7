-- The nodes over the events of the blocks from before the tree, apart from the change of their table, which locks it.
SELECT complete_merkle_nodes(origin) FROM (SELECT DISTINCT origin FROM signed_blocks) AS signed;
