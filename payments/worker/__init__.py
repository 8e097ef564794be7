"""The background worker: what follows from what. Every job is safe to repeat; of several workers one does each job."""
