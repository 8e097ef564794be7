-- A head is over its own events at least: nothing can be made of a tree of fewer.
ALTER TABLE signed_blocks ADD CONSTRAINT signed_blocks_tree_size_check CHECK (tree_size >= events) NOT VALID;
