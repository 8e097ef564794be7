"""Request counts and latencies by route template, so that no id and no personal data get in."""

import os
from collections.abc import Iterator
from http import HTTPMethod

from flask import Flask, current_app
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.setting_values import METRICS_FOLDER
from ledger.store import counters
from payments.exceptions.figures import Figures

CONTENT_TYPE = CONTENT_TYPE_LATEST
UNMATCHED = "(none)"
"""The route of a request that matches no template."""

EXTENSION = "daftari.metrics"
GAUGES = {
    "daftari_open_cases": "Open cases of the work list.",
    "daftari_seconds_left": "Seconds until something that is watched runs out; below zero once it has.",
    "daftari_switched_off": "1 for what operators have switched off, else 0.",
    "daftari_follower_events_behind": "Events that a follower of the log has not read; counted up to 10,000.",
    "daftari_follower_seconds_behind": "Age of the oldest event that a follower of the log has not read.",
    "daftari_horizon_seconds": "For how long the oldest transaction with an id has held the log back.",
    "daftari_database_answers": "1 if the figures of this list could be read from the database, else 0.",
    "daftari_oldest_waiting_seconds": "Age of the oldest payment or refund in doubt, payment without its order, "
    "authenticated message that nobody has acted on, and webhook that was not taken; 0 if there is none.",
    "daftari_money_held_cents": "Money held, in cents: paid and without an order, and due back; of 10,000 at most.",
    "daftari_dead_letters": "Dead-lettered messages and events; counted up to 10,000.",
    "daftari_verified_seconds": "Seconds since the last verification run of each form ended.",
    "daftari_invariant_violations": "Violations that the last verification run found, by rule.",
    "daftari_block_height": "Number of the last signed block.",
    "daftari_block_seconds": "Seconds since the last block was signed; the log may have had no events since.",
    "daftari_unsigned_seconds": "Age of the oldest event that no block covers; 0 if there is none.",
}
"""What is read when metrics are asked for, with its help text."""

_METHODS = frozenset(HTTPMethod)
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)


class RequestMetrics:
    """The metrics of one app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "daftari_http_request_seconds",
            "Seconds from the arrival of a request to its answer.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._kinds: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Add a finished request. To look a kind's labels up costs more than to count, so that is done once."""
        kind = (method if method in _METHODS else "OTHER", route, status)
        histogram = self._kinds.get(kind)
        if histogram is None:
            histogram = self._kinds[kind] = self.seconds.labels(kind[0], route, str(status))
        histogram.observe(seconds)


def install_metrics(app: Flask) -> None:
    """Count and time every request."""
    app.extensions[EXTENSION] = RequestMetrics()


def exposition(figures: Figures) -> bytes:
    """Return the metrics as Prometheus text: of all processes if they share a folder, else of this one.

    `figures` are read now, by name and, where a name has several, by their label `kind`.
    """
    return _counted() + _read_now(figures)


class _ReadNow(Collector):
    """Figures as metrics of the moment. A Gauge would leave them in the shared folder, where they stay as they were."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield each figure, of a name with several by their label `kind`."""
        for name, values in self._figures.items():
            if isinstance(values, float):
                yield GaugeMetricFamily(name, GAUGES[name], value=values)
                continue
            family = GaugeMetricFamily(name, GAUGES[name], labels=("kind",))
            for kind, value in values.items():
                family.add_metric((kind,), value)
            yield family


def _read_now(figures: Figures) -> bytes:
    registry = CollectorRegistry()
    registry.register(_ReadNow(figures))
    return generate_latest(registry)


def _counted() -> bytes:
    if os.environ.get(METRICS_FOLDER):
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]  # prometheus-client leaves it untyped
        return generate_latest(shared)
    metrics: RequestMetrics = current_app.extensions[EXTENSION]
    return generate_latest(metrics.registry) + generate_latest(counters.REGISTRY)
