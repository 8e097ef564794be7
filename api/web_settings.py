"""The settings of the web server: who may ask it, how often, and for how long."""

from dataclasses import dataclass

from api import setting_values as values
from api.setting_values import setting


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """A part of the Settings."""

    daftari_cors_origins: tuple[str, ...] = setting(
        values.origins,
        "",
        "The origins whose pages may use the API from a browser, by commas, such as https://shop.example; without it, "
        "none but our own.",
    )
    daftari_rate_per_minute: int = setting(
        values.whole(1, 1_000_000),
        "6000",
        "How many writing requests a user may send in a minute, to all processes together.",
    )
    daftari_key_rate_per_minute: int = setting(
        values.whole(1, 1_000_000),
        "60000",
        "How many writing requests the API keys of a name may send in a minute, to all processes together: they act "
        "for all buyers of a shop.",
    )
    daftari_reads_per_minute: int = setting(
        values.whole(1, 10_000_000), "300000", "How many reads a user may send in a minute, per process."
    )
    daftari_web_workers: int = setting(values.whole(1, 64), "2", "How many processes serve HTTP.")
    daftari_web_threads: int = setting(values.whole(1, 256), "16", "How many requests each handles at once.")
    daftari_web_waiters: int = setting(
        values.whole(1, 10_000),
        "1000",
        "How many clients may long-poll or stream in each process; more get a 503.",
    )
    daftari_request_seconds: int = setting(
        values.whole(1, 300),
        "10",
        "How long a client has for a head, and for 64 KiB of a body or a response.",
    )
    daftari_connections_of_address: int = setting(
        values.whole(1, 100_000), "100", "How many connections of one address a process accepts."
    )
    daftari_unlimited_addresses: tuple[values.Network, ...] = setting(
        values.networks,
        "127.0.0.0/8,::1",
        "Who may open more, such as proxies: addresses, networks, or none.",
    )
    daftari_stream_seconds: int = setting(
        values.whole(1, 3600),
        "300",
        "How long a stream lasts at most, of a payment's status or the dashboard.",
    )
