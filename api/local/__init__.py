"""One machine as a place to run on: its data folder, its PostgreSQL, its child processes."""
