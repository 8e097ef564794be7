"""docs/events.md is what the event classes are, and each part of it has its words."""

from ledger.session.events import PUBLIC_NAMES
from ledger.store.metadata import Cause, caused_by
from tests.support.event_words import CAUSES, FIELDS, METADATA
from tests.support.events_page import PAGE, field_names, write_page


def test_the_page_is_what_the_classes_give() -> None:
    assert PAGE.read_text("utf-8") == write_page(), "Run `make events` and commit docs/events.md."


def test_every_event_has_its_cause_and_no_words_are_left_of_what_is_gone() -> None:
    assert set(CAUSES) == set(PUBLIC_NAMES.values())
    assert set(FIELDS) <= field_names()


def test_every_cause_and_every_name_of_the_metadata_is_told() -> None:
    page = PAGE.read_text("utf-8")
    assert [cause for cause in Cause if f"`{cause}`" not in page] == []
    documented = (caused_by.__doc__ or "") + " cause"
    assert [name for name in METADATA if name not in documented] == []
