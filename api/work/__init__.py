"""The worker: what follows from what. Every job is safe to repeat; of several workers one does each job."""

from api.work.loop import run

__all__ = ["run"]
