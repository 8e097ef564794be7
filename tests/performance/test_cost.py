"""The meter of costs counts what passes, however the bytes are cut."""

from tests.performance.cost import Cost, Messages, least

STARTUP = (12).to_bytes(4, "big") + b"startup!"
BIND, EXECUTE = b"B" + (8).to_bytes(4, "big") + b"body", b"E" + (4).to_bytes(4, "big")


def test_messages_are_counted_however_they_are_cut() -> None:
    for size in range(1, 12):
        messages = Messages(has_type=False)
        data = STARTUP + BIND + EXECUTE + EXECUTE
        found = [kind for at in range(0, len(data), size) for kind in messages.kinds(data[at : at + size])]
        assert bytes(found) == b"BEE"


def test_what_one_run_in_ten_adds_does_not_count() -> None:
    assert least([Cost(3, 4, 1, 900), Cost(2, 2, 1, 950)]) == Cost(2, 2, 1, 900)


def test_one_count_above_its_bound_is_too_much() -> None:
    most = Cost(2, 2, 1, 900)
    assert not Cost(2, 2, 1, 900).exceeds(most)
    assert Cost(1, 1, 2, 100).exceeds(most)
