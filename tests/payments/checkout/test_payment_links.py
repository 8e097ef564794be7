"""A payment link is read by who made it, and any other text is none."""

import base64
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.store.database import Database
from ledger.store.key_ring import KNOWN_WITHIN, PAYMENT_LINKS
from ledger.store.vault import Vault
from payments.checkout.payment_links import PREFIX, make_link, read_link
from tests.support.keys import MASTER_KEY

SESSION = UUID("01a220d2-d70c-7c13-a04f-e57c877dc24b")


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


@pytest.mark.parametrize("user_id", [1, 2**53 - 1, 2**63 - 1])
def test_a_link_names_its_session_and_its_buyer(vault: Vault, user_id: int) -> None:
    link = make_link(vault, SESSION, user_id)
    assert read_link(vault, link) == (SESSION, user_id)
    assert link == make_link(vault, SESSION, user_id)
    assert len(link) == 59


def test_any_other_text_is_none(vault: Vault) -> None:
    link = make_link(vault, SESSION, 7)
    assert read_link(vault, make_link(vault, uuid4(), 7)[:25] + link[25:]) is None
    for place in range(len(link)):
        other = "A" if link[place] != "A" else "B"
        assert read_link(vault, link[:place] + other + link[place + 1 :]) is None
    for text in ("", "pl_", link[:-1], f"{link}A", "pl_" + "ü" * 56, "pl_" + "=" * 56, link.upper()):
        assert read_link(vault, text) is None


def test_numbers_of_keys_that_strangers_make_up_are_not_looked_up(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    with freeze_time(clock.now()) as frozen:
        link = make_link(vault, SESSION, 7)
        reads, read = [], vault.keys._read

        def counted() -> None:
            reads.append(clock.now())
            read()

        monkeypatch.setattr(vault.keys, "_read", counted)
        raw = base64.urlsafe_b64decode(link.removeprefix(PREFIX))
        for number in range(1, 50):
            forged = raw[:24] + number.to_bytes(2) + raw[26:]
            assert read_link(vault, PREFIX + base64.urlsafe_b64encode(forged).decode()) is None
        assert reads == []
        frozen.tick(KNOWN_WITHIN)
        assert read_link(vault, link) == (SESSION, 7)
        assert len(reads) == 1


def test_a_process_reads_links_by_a_key_that_another_one_rolled(database: Database, vault: Vault) -> None:
    with freeze_time(clock.now()) as frozen:
        older = make_link(vault, SESSION, 7)
        other = Vault(database, MASTER_KEY)
        with database.transaction() as connection:
            connection.execute("SET LOCAL ROLE NONE")
            other.keys.roll(connection, PAYMENT_LINKS)
        frozen.tick(KNOWN_WITHIN + timedelta(seconds=1))
        newer = make_link(other, SESSION, 7)
        assert newer != older
        assert [read_link(vault, link) for link in (older, newer)] == 2 * [(SESSION, 7)]
