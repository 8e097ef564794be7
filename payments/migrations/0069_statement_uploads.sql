-- Statements that operators upload in pieces, each smaller than the bound of a request. The pieces are encrypted, bound to
-- who uploads how much, and gone when the worker has imported the file, or after an hour.
CREATE TABLE statement_uploads (
    upload_id uuid PRIMARY KEY,
    uploaded_by bigint NOT NULL,
    size_bytes integer NOT NULL CHECK (size_bytes BETWEEN 1 AND 16777216),
    started_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('uploading', 'waiting', 'imported', 'refused')),
    tries integer NOT NULL DEFAULT 0,
    rows_done integer NOT NULL DEFAULT 0,
    rows_in_all integer,
    reconciliation_id uuid,
    refusal text CHECK (length(refusal) <= 1000)
);
CREATE TABLE statement_pieces (
    upload_id uuid NOT NULL REFERENCES statement_uploads ON DELETE CASCADE,
    number integer NOT NULL CHECK (number BETWEEN 0 AND 341),
    sealed_piece text NOT NULL CHECK (length(sealed_piece) <= 140000),
    PRIMARY KEY (upload_id, number)
);
COMMENT ON TABLE statement_uploads IS 'Statements that operators upload, and how far their import is; for an hour.';
COMMENT ON TABLE statement_pieces IS 'Pieces of statements that are not imported yet, encrypted; for an hour at most.';
COMMENT ON COLUMN statement_uploads.uploaded_by IS 'The operator''s user id.';
COMMENT ON COLUMN statement_uploads.state IS
    '`uploading`, then `waiting` for the worker to import it, then `imported`, or `refused` with the reason.';
COMMENT ON COLUMN statement_uploads.tries IS 'How often the worker began to import it.';
COMMENT ON COLUMN statement_uploads.rows_done IS 'Rows that are matched so far, of `rows_in_all`.';
COMMENT ON COLUMN statement_uploads.reconciliation_id IS 'The report of the import.';
COMMENT ON COLUMN statement_uploads.refusal IS 'Why nothing was imported; nothing of the file but column names, amounts and row numbers.';
COMMENT ON COLUMN statement_pieces.number IS 'From 0, in the order of the file.';
COMMENT ON COLUMN statement_pieces.sealed_piece IS 'The bytes, encrypted for this upload and number.';
