"""The settings of checkouts: how long and how often a session may be paid, and what bounds them."""

from dataclasses import dataclass

from api import setting_values as values
from api.setting_values import setting as _setting


@dataclass(frozen=True, kw_only=True)
class CheckoutSettings:
    """The checkouts' part of the settings."""

    daftari_session_minutes: int = _setting(
        values.whole(1, 24 * 60), "15", "How long a session can be paid, and by how much it is extended."
    )
    daftari_max_extensions: int = _setting(values.whole(0, 100), "3", "How often a session can be extended.")
    daftari_max_open_sessions: int = _setting(
        values.whole(1, 100_000), "100", "How many sessions of a user can be open at once."
    )
    daftari_max_unnamed_checkouts: int = _setting(
        values.whole(1, 1_000_000),
        "10000",
        "How many checkouts without a buyer an API key's name may have at once whose time is not over.",
    )
    daftari_return_origins: tuple[str, ...] = _setting(
        values.origins,
        "",
        "The origins that `success_url` and `cancel_url` of checkouts may lead to, by commas.",
    )
    daftari_prompts_per_hour: int = _setting(
        values.whole(1, 100_000), "30", "How many prompts that are not paid a user may send in an hour."
    )
    daftari_numbers_per_day: int = _setting(
        values.whole(1, 100_000),
        "10",
        "How many numbers that they have never paid from a user may send prompts to in a day.",
    )
    daftari_prompts_per_number: int = _setting(
        values.whole(1, 100_000),
        "10",
        "How many prompts in an hour a number may be sent by users who have never paid from it.",
    )
