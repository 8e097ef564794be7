"""The local runtime of `daftari up`: a data folder, an embedded PostgreSQL and child processes on one machine."""
