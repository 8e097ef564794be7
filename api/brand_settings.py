"""The settings of the look of payment page and demo shop: whose pages they are."""

import re
from dataclasses import dataclass
from pathlib import Path

from api.setting_values import setting as _setting

LOGO_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".webp": "image/webp"}
MAX_LOGO_BYTES = 32 * 1024
MAX_NAME_CHARACTERS = 40
LEAST_CONTRAST = 4.5
"""What WCAG 2.2 (1.4.3) asks of text."""


def contrast_with_white(colour: str) -> float:
    """Return the contrast of white on a colour, `#rrggbb`, as WCAG 2.2 defines it."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def _name(given: str) -> str:
    if len(given) > MAX_NAME_CHARACTERS or not given.isprintable():
        raise ValueError(f"must be at most {MAX_NAME_CHARACTERS} characters on one line.")
    return given


def _colour(given: str) -> str:
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", given):
        raise ValueError("must be a colour such as #0f6b46.")
    if contrast_with_white(given) < LEAST_CONTRAST:
        raise ValueError("is too light: white text on it cannot be read by all. Choose a darker colour.")
    return given.lower()


def _logo(given: str) -> Path:
    file = Path(given)
    if file.suffix not in LOGO_TYPES or not file.is_file() or file.stat().st_size > MAX_LOGO_BYTES:
        raise ValueError(
            f"must be a file of at most {MAX_LOGO_BYTES // 1024} KiB, one of: {', '.join(LOGO_TYPES)}."
        )
    return file


@dataclass(frozen=True, kw_only=True)
class BrandSettings:
    """The look's part of the settings."""

    daftari_shop_name: str = _setting(
        _name, "", "The shop's name, at the head of the payment page and of the demo shop."
    )
    daftari_shop_logo: Path | None = _setting(
        _logo, "", "A file with the shop's logo, for both pages: .svg, .png or .webp."
    )
    daftari_shop_colour: str = _setting(
        _colour, "#0f6b46", "The colour of both pages' buttons; white text must be readable on it."
    )
