-- A payment rewrites its row twice, and both times an index: at the usual fifth of dead rows the table would be a third empty.
ALTER TABLE prompt_counts SET (autovacuum_vacuum_scale_factor = 0.02);
