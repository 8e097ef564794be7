from datetime import UTC, datetime, timedelta
from uuid import RFC_4122

from ledger.identifiers import new_id

MOMENT = datetime(2024, 1, 15, 10, 30, 0, 123_000, tzinfo=UTC)


def test_an_id_carries_its_millisecond_version_and_variant() -> None:
    made = new_id(MOMENT)
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == 1_705_314_600_123


def test_ids_sort_by_their_time() -> None:
    ids = [new_id(MOMENT + timedelta(milliseconds=step)) for step in range(100)]
    assert ids == sorted(ids)
    assert [str(made) for made in ids] == sorted(str(made) for made in ids)


def test_ids_of_one_millisecond_differ_in_every_random_bit() -> None:
    ids = [new_id(MOMENT).int for _ in range(1_000)]
    assert len(set(ids)) == len(ids)
    changing = 0
    for made in ids:
        changing |= made ^ ids[0]
    assert changing.bit_count() == 74
