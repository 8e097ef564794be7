-- Which attempt a phone was taken for: the end of an earlier one must not free it for somebody else.
ALTER TABLE live_prompts ADD COLUMN transaction_id bigint;
COMMENT ON COLUMN live_prompts.transaction_id IS
    'Of the attempt that the phone was taken for last. NULL in rows from before this column, which are over in minutes.';
