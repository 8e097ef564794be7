"""Users by text: one number each for ever, in every process, until they are erased; and numbers stay what they are."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest
from freezegun import freeze_time
from psycopg import Connection
from psycopg.rows import TupleRow

from api.local.database_logins import url_of_login
from ledger.errors import InvalidValue, Unavailable
from ledger.identifiers import UNNAMED_USERS
from ledger.store.customer_keys import FORGOTTEN_WITHIN
from ledger.store.database import APP_ROLE, Database
from ledger.store.vault import PHONE, Vault
from payments.users.user_ids import FIRST, KNOWN_FOR, LAST, UserIds
from tests.support.database import APP_PASSWORD
from tests.support.keys import MASTER_KEY

NOW = datetime(2026, 1, 27, 10, 0, tzinfo=UTC)


@pytest.fixture
def vault(database: Database) -> Vault:
    vault = Vault(database, MASTER_KEY)
    vault.claim()
    return vault


@pytest.fixture
def user_ids(database: Database, vault: Vault) -> UserIds:
    return UserIds(database, vault)


def another_process(database: Database) -> UserIds:
    return UserIds(database, Vault(database, MASTER_KEY))


def rows(database: Database) -> list[dict[str, object]]:
    with database.connection() as connection:
        return connection.execute("SELECT * FROM user_texts").fetchall()


@pytest.mark.parametrize("text", ["1", "7", "254712345678", str(FIRST - 1), str(LAST + 1), str(2**63 - 1)])
def test_the_text_of_a_number_is_that_number_and_nothing_is_kept(
    user_ids: UserIds, database: Database, text: str
) -> None:
    assert user_ids.user_id_of(text) == user_ids.find(text) == int(text)
    assert rows(database) == []


@pytest.mark.parametrize(
    "text",
    [
        "6fa1b2c8-5b0e-4c2f-9a51-0d8a3d0c7e11",
        "wanjiru@shop.example",
        "0",
        "007",
        "-7",
        "7 ",
        "\u0667",
        str(2**63),
        "Wanjikũ",
        "x" * 128,
    ],
)
def test_any_other_text_has_a_number_of_its_own_in_every_process(
    user_ids: UserIds, database: Database, text: str
) -> None:
    assert user_ids.find(text) is None
    number = user_ids.user_id_of(text)
    assert FIRST <= number <= LAST
    assert user_ids.user_id_of(text) == another_process(database).user_id_of(text) == number
    assert user_ids.user_id_of(text + "y" if len(text) < 128 else "y") != number
    assert all(text not in str(row["sealed_text"]) for row in rows(database) if len(text) > 3)


@pytest.mark.parametrize("text", ["", "x" * 129, "a\x00", "a\nb", "\x7f", "\x85", "\ud800"])
def test_what_names_nobody_is_refused(user_ids: UserIds, text: str) -> None:
    for ask in (user_ids.user_id_of, user_ids.find):
        with pytest.raises(InvalidValue):
            ask(text)


@pytest.mark.parametrize("number", [FIRST, LAST, FIRST + 12345])
def test_a_new_number_among_those_of_texts_is_refused_and_an_older_user_keeps_theirs(
    user_ids: UserIds, vault: Vault, number: int
) -> None:
    with pytest.raises(InvalidValue, match="given out to users by text"):
        user_ids.user_id_of(str(number))
    vault.encrypt(number, "0712345678", purpose=PHONE, row="a session from before")
    assert user_ids.user_id_of(str(number)) == number


def test_nobody_becomes_a_user_by_text_by_claiming_their_number(user_ids: UserIds, vault: Vault) -> None:
    number = user_ids.user_id_of("wanjiru")
    for _ in ("known", "erased"):
        with pytest.raises(InvalidValue):
            user_ids.user_id_of(str(number))
        vault.erase(number)


def test_staff_name_anybody_by_number(user_ids: UserIds) -> None:
    """A buyer whom the shop did not name has no text, and is erased and exported as well."""
    for number in (user_ids.user_id_of("wanjiru"), UNNAMED_USERS[0], LAST):
        assert user_ids.find(str(number)) == number


def test_processes_that_meet_a_text_at_once_give_it_one_number(database: Database) -> None:
    processes = [another_process(database) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        numbers = set(threads.map(lambda each: each.user_id_of("wanjiru"), processes))
    assert len(numbers) == len(rows(database)) == 1


def test_a_known_text_costs_no_statement_for_a_while(user_ids: UserIds) -> None:
    number = user_ids.user_id_of("wanjiru")
    user_ids._database = Database("postgresql://127.0.0.1:1/away")
    user_ids._database.pool.timeout = 0.1
    assert user_ids.user_id_of("wanjiru") == number
    assert user_ids.user_id_of("7") == 7
    with pytest.raises(Unavailable):
        user_ids.user_id_of("another")


def test_an_erased_user_is_forgotten_and_the_text_is_another_user_then(
    user_ids: UserIds, database: Database
) -> None:
    with freeze_time(NOW) as clock:
        number = user_ids.user_id_of("wanjiru")
        Vault(database, MASTER_KEY).erase(number)
        assert rows(database) == []
        clock.tick(max(KNOWN_FOR, FORGOTTEN_WITHIN))
        assert user_ids.find("wanjiru") is None
        assert user_ids.user_id_of("wanjiru") != number


def test_a_login_leads_nobody_to_another_number(
    user_ids: UserIds, database: Database, database_url: str, vault: Vault
) -> None:
    """It knows the digest of its own text, and frees it by an erasure."""
    vault.encrypt(7, "0712345678", purpose=PHONE, row="a session")
    victim, mine = user_ids.user_id_of("victim"), user_ids.user_id_of("mallory")
    with psycopg.connect(url_of_login(database_url, APP_ROLE, APP_PASSWORD), autocommit=True) as login:
        taken = stored(login, mine)
        login.execute("SELECT erase_customer(%s, '{}')", (mine,))
        _, sealed = stored(login, victim)
        login.execute("SELECT erase_customer(%s, '{}')", (victim,))
        login.execute("INSERT INTO user_texts VALUES (%s, %s, %s, now())", (victim, taken[0], sealed))
        with pytest.raises(psycopg.errors.CheckViolation):
            login.execute("INSERT INTO user_texts VALUES (7, %s, %s, now())", (taken[0], sealed))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            login.execute("UPDATE user_texts SET digest = %s", (taken[0],))
    with pytest.raises(Exception, match=r"ERASED|UNAVAILABLE"):
        another_process(database).user_id_of("mallory")


def stored(login: Connection[TupleRow], number: int) -> tuple[str, str]:
    row = login.execute("SELECT digest, sealed_text FROM user_texts WHERE user_id = %s", (number,)).fetchone()
    assert row is not None
    return row[0], row[1]


def test_the_text_of_a_user_is_found_again_until_they_are_erased(
    user_ids: UserIds, database: Database, vault: Vault
) -> None:
    user = user_ids.user_id_of("wanjiru@shop.example")
    assert another_process(database).text_of(user) == "wanjiru@shop.example"
    assert user_ids.text_of(7) == "7"
    assert user_ids.text_of(LAST) == str(LAST)
    vault.erase(user)
    assert user_ids.text_of(user) == str(user)


def test_a_forged_text_of_a_user_is_not_told(user_ids: UserIds, database: Database, vault: Vault) -> None:
    user, other = user_ids.user_id_of("wanjiru@shop.example"), FIRST + 1
    vault.encrypt(other, "x", purpose=PHONE, row=1)
    with database.connection() as attacker:
        attacker.execute(
            "INSERT INTO user_texts SELECT %s, repeat('0', 64), sealed_text, created_at FROM user_texts"
            " WHERE user_id = %s",
            (other, user),
        )
    with pytest.raises(Unavailable):
        user_ids.text_of(other)
