"""What `daftari up` prints to be pasted can be done with the M-Pesa that it runs with."""

from pathlib import Path

import pytest

from api.cli.first_steps import first_steps
from api.local.local_settings import local_settings

DARAJA = "http://127.0.0.1:18601"


@pytest.mark.parametrize("simulates", [True, False])
def test_a_prompt_is_approved_at_the_simulator_alone(data_folder: Path, *, simulates: bool) -> None:
    settings = local_settings({"DAFTARI_DATA_DIR": str(data_folder), "MPESA_BASE_URL": DARAJA})
    steps = first_steps(settings, "http://127.0.0.1:8000", simulates=simulates)
    assert any(DARAJA in step for step in steps) is simulates
    assert any("/initiate_payment/" in step for step in steps)
