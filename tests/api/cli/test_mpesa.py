"""What an operator asks of M-Pesa from the command line, against a scripted M-Pesa over real HTTP."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.api.cli.support import daftari
from tests.daraja.client import scripted
from tests.daraja.client.scripted import Script, error_reply, html_reply, json_reply
from tests.support.instance import SIMULATED

C2B = "/mpesa/c2b/v2/registerurl"
PULL_REGISTER = "/pulltransactions/v1/register"
PULL = "/pulltransactions/v1/query"
REGISTERED = {
    "OriginatorCoversationID": "7619-37765134-1",
    "ResponseCode": "0",
    "ResponseDescription": "Success",
}
CALLBACKS = "https://shop.example/ledger/api/payments/callback/"


@dataclass
class Operator:
    """Whoever types commands, and the M-Pesa that they reach."""

    script: Script
    environ: dict[str, str]

    def types(self, *arguments: str, **environ: str) -> CompletedProcess[str]:
        return daftari(*arguments, **{**self.environ, **environ})


@pytest.fixture
def operator(database_url: str, data_folder: Path) -> Iterator[Operator]:
    script, stop = scripted.serve()
    script.at(scripted.OAUTH, json_reply(200, {"access_token": "token-1", "expires_in": "3599"}))
    environ = SIMULATED | {
        "DATABASE_URL": database_url,
        "DAFTARI_DATA_DIR": str(data_folder),
        "MPESA_BASE_URL": script.base_url,
        "MPESA_CALLBACK_URL": CALLBACKS,
    }
    yield Operator(script, environ)
    stop()


def _addresses(result: CompletedProcess[str]) -> dict[str, str]:
    lines = [line.split() for line in result.stdout.splitlines() if "://" in line]
    return {line[0]: line[1] for line in lines}


def test_the_c2b_urls_are_registered_as_they_are_printed(operator: Operator) -> None:
    operator.script.at(C2B, json_reply(200, REGISTERED))
    result = operator.types("register-c2b")
    assert result.returncode == 0, result.stderr
    assert "Registered. If we do not respond, M-Pesa treats the payment as Completed." in result.stdout
    [request] = operator.script.seen(C2B)
    printed = _addresses(result)
    assert request.json == {
        "ShortCode": "174379",
        "ResponseType": "Completed",
        "ConfirmationURL": printed["confirmation"],
        "ValidationURL": printed["validation"],
    }
    assert printed["confirmation"].startswith("https://shop.example/ledger/api/payments/c2b/")
    assert printed["confirmation"].endswith("/confirmation/")


def test_the_response_type_comes_from_the_option_or_the_setting(operator: Operator) -> None:
    operator.script.at(C2B, json_reply(200, REGISTERED))
    operator.types("register-c2b", "--response-type", "Cancelled")
    operator.types("register-c2b", DAFTARI_C2B_UNKNOWN="refuse")
    assert [request.json["ResponseType"] for request in operator.script.seen(C2B)] == ["Cancelled"] * 2


def test_the_c2b_urls_can_be_printed_without_registering(operator: Operator) -> None:
    result = operator.types("register-c2b", "--print-only")
    assert result.returncode == 0
    assert set(_addresses(result)) == {"confirmation", "validation"}
    assert operator.script.requests == []


def test_urls_that_are_registered_already_are_reported(operator: Operator) -> None:
    operator.script.at(C2B, error_reply(500, "500.003.1001", "Urls are already registered."))
    result = operator.types("register-c2b")
    assert result.returncode == 0, result.stderr
    assert "M-Pesa already has URLs for this shortcode and keeps them." in result.stdout


def test_a_url_that_safaricom_forbids_is_not_sent(operator: Operator) -> None:
    result = operator.types(
        "register-c2b", MPESA_CALLBACK_URL="https://mpesa.shop.example/api/payments/callback/"
    )
    assert result.returncode == 3
    assert "mpesa" in result.stderr
    assert operator.script.requests == []


def test_a_list_is_fetched_and_its_payments_counted(operator: Operator) -> None:
    row = {
        "transactionId": "UKF7Q2X9LM",
        "trxDate": "2026-11-15T06:07:22Z",
        "msisdn": "254708374149",
        "sender": "UNKNOWN",
        "transactiontype": "c2b-pay-bill-debit",
        "billreference": "rent",
        "amount": "650.00",
        "organizationname": "Shop",
    }
    answer = {"ResponseRefID": "1", "ResponseCode": "1000", "ResponseMessage": "Success", "Response": [[row]]}
    nothing = {"ResponseRefID": "1", "ResponseCode": "1001", "ResponseMessage": "No transactions"}
    operator.script.at(PULL, json_reply(200, answer), json_reply(200, nothing))
    result = operator.types("pull")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0].startswith("1 payments from ")
    assert "1  unknown" in result.stdout
    assert "254708374149" not in result.stdout + result.stderr


def test_the_list_is_enabled_once(operator: Operator) -> None:
    operator.script.at(
        PULL_REGISTER,
        json_reply(200, {"ResponseRefID": "1", "ResponseStatus": "1000", "ShortCode": "174379"}),
    )
    result = operator.types("pull", "--register", "--nominated-number", "254712345678")
    assert result.returncode == 0, result.stderr
    assert "DAFTARI_PULL=on" in result.stdout
    [request] = operator.script.seen(PULL_REGISTER)
    assert request.json["NominatedNumber"] == "254712345678"


@pytest.mark.parametrize("options", [("--register",), ("--nominated-number", "254712345678")])
def test_registering_without_a_number_is_refused(operator: Operator, options: tuple[str, ...]) -> None:
    result = operator.types("pull", *options)
    assert result.returncode == 2
    assert "go together" in result.stderr
    assert operator.script.requests == []


@pytest.mark.parametrize(("command", "path"), [("pull", PULL), ("register-c2b", C2B)])
def test_an_mpesa_that_does_not_answer_is_reported_in_a_sentence(
    operator: Operator, command: str, path: str
) -> None:
    operator.script.at(path, html_reply(503))
    result = operator.types(command)
    assert result.returncode == 4, result.stdout + result.stderr
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
