"""Finds figures in sentences of a document, as digits or words, to compare them with the code."""

import re
from datetime import timedelta

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS: dict[str, float] = {
    **{word: number for number, word in enumerate(_UNITS.split())},
    **{word: 10 * number for number, word in enumerate(_TENS.split(), 2)},
    "a": 1,
    "an": 1,
    "every": 1,
    "second": 2,
    "half a": 0.5,
    "half an": 0.5,
    "a tenth": 0.1,
    "a quarter": 0.25,
    "two dozen": 24,
    "a thousand": 1_000,
    "first thousand": 1_000,
    "ten thousand": 10_000,
}
_DIGITS = r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?"
_FIGURE = f"({'|'.join(sorted(_WORDS, key=len, reverse=True))}|{_DIGITS})"


def figures_in(text: str, sentence: str) -> list[tuple[float, ...]]:
    """Return the figures in place of each {} of a sentence, for each occurrence in the text.

    Line breaks count as blanks.
    """
    parts = [r"\s+".join(re.escape(word) for word in re.split(r"\s", part)) for part in sentence.split("{}")]
    found = re.finditer(rf"(?<!\w){_FIGURE.join(parts)}", text, re.IGNORECASE)
    return [tuple(_number(figure) for figure in match.groups()) for match in found]


def seconds(time: timedelta) -> float:
    """Return a time in seconds."""
    return time.total_seconds()


def minutes(time: timedelta) -> float:
    """Return a time in minutes."""
    return time / timedelta(minutes=1)


def hours(time: timedelta) -> float:
    """Return a time in hours."""
    return time / timedelta(hours=1)


def bounds(pattern: re.Pattern[str]) -> tuple[int, int]:
    """Return the least and greatest length of a pattern that ends in {least,greatest}."""
    few, many = re.findall(r"\{([0-9]+),([0-9]+)\}", pattern.pattern)[-1]
    return int(few), int(many)


def _number(figure: str) -> float:
    word = re.sub(r"\s+", " ", figure.lower())
    return _WORDS[word] if word in _WORDS else float(figure.replace(",", ""))
