"""`daftari generate`, on the embedded database with the logins of an instance."""

from pathlib import Path

import pytest

from api.cli.generate import MAX_SEED, MAX_SESSIONS
from payments.sample import chunks, people
from tests.api.cli.support import daftari
from tests.support.embedded import embedded_instance

OPTIONS = ("generate", "--sessions", "30", "--seed", "2", "--from", "2024-01-01", "--to", "2024-01-07")


def test_a_sample_of_an_instance_verifies(data_folder: Path) -> None:
    environ = {"DAFTARI_DATA_DIR": str(data_folder)}
    with embedded_instance(data_folder):
        made, again = (daftari(*OPTIONS, **environ) for _ in range(2))
        assert made.returncode == again.returncode == 0, made.stderr + again.stderr
        assert made.stdout == again.stdout
        assert "--sessions 30 --seed 2 --from 2024-01-01 --to 2024-01-07" in made.stdout
        verified = daftari("verify", **environ)
        chain = daftari("verify", "--chain", **environ)
        assert verified.returncode == chain.returncode == 0, verified.stdout + chain.stdout
        other = daftari(*OPTIONS[:2], "31", *OPTIONS[3:], **environ)
        assert (other.returncode, "give another seed" in other.stderr) == (1, True), other.stderr


@pytest.mark.parametrize(
    ("arguments", "environ", "exit_code", "told"),
    [
        (("--to", "2999-01-01"), {}, 2, "a day that is over"),
        (("--from", "2024-02-01", "--to", "2024-01-01"), {}, 2, "--from is after --to"),
        (("--seed", "901"), {}, 2, "901"),
    ],
)
def test_bad_options_are_told(
    arguments: tuple[str, ...], environ: dict[str, str], exit_code: int, told: str
) -> None:
    result = daftari("generate", "--sessions", "10", *arguments, **environ)
    assert (result.returncode, told in result.stderr) == (exit_code, True), result.stderr


def test_the_limits_are_those_of_the_sample() -> None:
    assert (MAX_SESSIONS, MAX_SEED) == (chunks.MAX_SESSIONS, people.MAX_SEED)
