"""The guide at the head of /docs/: parts of the pages in docs/, so that nothing is said twice."""

import re
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from api.http.framework.error_codes import ERROR_CODES

WHOLE = ""
"""In place of a heading: the page without its title."""

PARTS: dict[str, tuple[tuple[str, str], ...]] = {
    "Quick start": (("developers.md", "Quick start"),),
    "Testing": (
        ("developers.md", "Testing"),
        ("simulator.md", "Numbers whose outcome is fixed"),
        ("simulator.md", "Faults"),
    ),
    "Webhooks": (("webhooks.md", WHOLE),),
    "Waiting": (("http.md", "Waiting for changes"),),
    "Idempotency": (("http.md", "Idempotency"),),
    "Errors": (("errors.md", WHOLE),),
}
"""The parts of the guide, and of which sections of which pages each is made."""

ADDRESS_IN_PAGES = "http://127.0.0.1:8000"
_PLACES = (
    Path(__file__).resolve().parents[3] / "docs",
    Path(sysconfig.get_path("data")) / "share" / "daftari" / "docs",
)
"""Where the pages are: in the checkout, or where an installation without one has put them."""

_LEVEL_BELOW_A_PART = 3
_TOKENS_OF_A_HEADING = 3
_SCROLLING = {
    "<pre>": '<pre tabindex="0">',
    "<table>": '<div class="wide" tabindex="0"><table>',
    "</table>": "</table></div>",
}
"""What may be wider than a phone, and is then scrolled, also by keys."""

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True)
class Part:
    """One part of the guide, as HTML."""

    title: str
    html: Markup

    @property
    def anchor(self) -> str:
        """The id of this part on the page, for links."""
        return _slug(self.title)


def guide(address: str) -> list[Part]:
    """Return the parts of the guide; its commands name the instance at `address`."""
    sections = {title: [_Section(*source) for source in PARTS[title]] for title in PARTS}
    anchors: dict[str, str] = {}
    for title, [first, *others] in sections.items():
        anchors |= first.place_under(_slug(title))
        for other in others:
            anchors |= other.place_below(_slug(title))
    return [Part(title, _html(sections[title], anchors, address)) for title in PARTS]


class _Section:
    """The tokens of a section of a page, or of the whole page, and of its heading."""

    def __init__(self, page: str, heading: str) -> None:
        self._page = page
        tokens = _MARKDOWN.parse(_text(page))
        starts = [number for number, token in enumerate(tokens) if token.type == "heading_open"]
        begin = next(n for n in starts if heading in (WHOLE, tokens[n + 1].content))
        level = _level(tokens[begin])
        end = next((n for n in starts if n > begin and _level(tokens[n]) <= level), len(tokens))
        self.tokens = tokens[begin:end]
        self._is_whole = heading == WHOLE

    def place_under(self, part: str) -> dict[str, str]:
        """Leave out the heading, for which the part's own stands; return the ids of what links may lead to."""
        name = _slug(self.tokens[1].content)
        del self.tokens[:_TOKENS_OF_A_HEADING]
        found = {f"{self._page}#{name}": part} | ({self._page: part} if self._is_whole else {})
        return found | self.place_below(part)

    def place_below(self, part: str) -> dict[str, str]:
        """Put the headings below the part's; return the ids of what links may lead to."""
        headings = [n for n, token in enumerate(self.tokens) if token.type == "heading_open"]
        above = min((_level(self.tokens[n]) for n in headings), default=0) - _LEVEL_BELOW_A_PART
        found = {}
        for number in headings:
            opening, text, closing = self.tokens[number : number + _TOKENS_OF_A_HEADING]
            name = _slug(text.content)
            found[f"{self._page}#{name}"] = f"{part}-{name}"
            opening.attrSet("id", f"{part}-{name}")
            opening.tag = closing.tag = f"h{_level(opening) - above}"
        return found

    def link(self, anchors: Mapping[str, str]) -> None:
        """Let links lead to where the page shows what they are about; of others between documents leave the words."""
        for token in self.tokens:
            if token.type == "inline":
                token.children = list(_linked(token.children or [], self._page, anchors))


def _html(sections: Sequence[_Section], anchors: Mapping[str, str], address: str) -> Markup:
    for section in sections:
        section.link(anchors)
    tokens = [token for section in sections for token in section.tokens]
    _mark_error_codes(tokens)
    shown = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    for plain, scrolling in _SCROLLING.items():
        shown = shown.replace(plain, scrolling)
    return Markup(shown.replace(ADDRESS_IN_PAGES, escape(address)))  # noqa: S704 - our own pages, and no HTML is let through


def _linked(children: Sequence[Token], page: str, anchors: Mapping[str, str]) -> Iterator[Token]:
    leads_somewhere = True
    for child in children:
        if child.type == "link_open":
            target = str(child.attrGet("href"))
            anchor = anchors.get(f"{page}{target}" if target.startswith("#") else target)
            leads_somewhere = anchor is not None or "://" in target
            if anchor is not None:
                child.attrSet("href", f"#{anchor}")
        if leads_somewhere or child.type not in ("link_open", "link_close"):
            yield child


def _mark_error_codes(tokens: Sequence[Token]) -> None:
    """Give the row of each error code an id, to which problem details lead."""
    unmarked = dict.fromkeys(ERROR_CODES)
    for row, _, cell in zip(tokens, tokens[1:], tokens[2:], strict=False):
        code = cell.content.strip("`")
        if row.type == "tr_open" and code in unmarked:
            del unmarked[code]
            row.attrSet("id", code)


def _text(page: str) -> str:
    return next(place / page for place in _PLACES if (place / page).is_file()).read_text("utf-8")


def _level(heading: Token) -> int:
    return int(heading.tag.removeprefix("h"))


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
