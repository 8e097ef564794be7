"""The background worker. Every job is safe to repeat; of several workers one does each job."""
