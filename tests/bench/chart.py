"""A chart of bars as SVG: rates and processor time of lifecycles."""

from html import escape
from statistics import median

from tests.bench.results import DAFTARI, PLAIN, PLAIN_ON_OUR_SERVER, WITH_KEYS, Figures, values

WIDTH, BAR, GAP, LEFT, TOP = 760, 18, 6, 210, 34
COLOURS = {DAFTARI: "#0b6e4f", WITH_KEYS: "#6bbf59", PLAIN: "#8d99ae", PLAIN_ON_OUR_SERVER: "#c0c7d3"}

Bar = tuple[str, str, list[float]]
"""The label of a bar, the subject that it belongs to, and the figure of each turn."""


def chart(results: Figures) -> str:
    """Return the chart of a run: a bar is the median, the thin line its spread."""
    panels = [
        ("Lifecycles a second: more is better", ("lifecycles_per_second",)),
        (
            "Processor milliseconds a lifecycle: less is better",
            ("processor_milliseconds_per_lifecycle", "own"),
        ),
    ]
    parts, top = [], 0
    for title, path in panels:
        bars = _bars(results, path)
        parts.append(_panel(title, bars, top))
        top += TOP + len(bars) * (BAR + GAP) + 2 * GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" '
        'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _bars(results: Figures, path: tuple[str, ...]) -> list[Bar]:
    levels = sorted({turn["clients"] for turn in results["turns"] if turn["part"] == "lifecycles"})
    bars = [
        (
            f"{clients} clients, {subject}",
            subject,
            values(results, "lifecycles", subject, *path, clients=clients),
        )
        for clients in levels
        for subject in COLOURS
    ]
    return [bar for bar in bars if bar[2]]


def _panel(title: str, bars: list[Bar], top: int) -> str:
    scale = (WIDTH - LEFT - 70) / max((max(figures) for _, _, figures in bars), default=1)
    lines = [f'<text x="{GAP}" y="{top + 20}" font-weight="bold">{escape(title)}</text>']
    for number, (label, subject, figures) in enumerate(bars):
        y, length = top + TOP + number * (BAR + GAP), median(figures) * scale
        low, high, middle = LEFT + min(figures) * scale, LEFT + max(figures) * scale, y + BAR / 2
        lines += [
            f'<text x="{LEFT - GAP}" y="{y + 13}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{COLOURS[subject]}"/>',
            f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="black"/>',
            f'<text x="{high + GAP:.1f}" y="{y + 13}">{median(figures):.1f}</text>',
        ]
    return "\n".join(lines)
