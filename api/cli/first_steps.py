"""The first steps that `daftari up` prints: a payment up to its order, to be pasted into another terminal."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from api.issued_tokens import make_token
from api.local.folders import default_data_folder
from api.settings import Settings

_USER = 1
_TOKEN_MINUTES = 8 * 60
_TOMATOES = 123
_DELIVERY = (
    '{"delivery_details": {"full_name": "Wanjiku Kamau", "phone_number": "0712345678", '
    '"county_id": 1, "subcounty_id": 5, "detailed_address": "Moi Avenue 1"}}'
)


def first_steps(settings: Settings, api: str, *, simulates: bool) -> list[str]:
    """Return the lines to print; those to paste, and no others, begin with two spaces."""
    curl = r'curl -sw "\n"'
    call = f'{curl} -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json"'
    sessions = f"{api}/api/payments/sessions"
    steps = [
        *_environment(settings),
        f"TOKEN={make_token(settings, _USER, ['customer'], _TOKEN_MINUTES)}",
        f'{call} -X PUT -d \'{{"quantity": "2"}}\' {api}/api/cart/items/{_TOMATOES}/',
        f"SESSION=$({call} -d '{_DELIVERY}' {sessions}/ | {_member('session_id')})",
        f"PROMPT=$({call} -d '{{}}' {sessions}/$SESSION/initiate_payment/ | {_member('checkout_request_id')})",
    ]
    if simulates:  # In place of a PIN on the simulator's phones page.
        steps += [f"{curl} -X POST {settings.mpesa_base_url}/simulator/api/prompts/$PROMPT/approve"]
    steps += [f"{call} -N {sessions}/$SESSION/stream/", "daftari replay $SESSION"]
    heading = "To pay for two kilos of tomatoes as a buyer, paste into another terminal:"
    return [heading, "", *(f"  {step}" for step in steps), ""]


def _environment(settings: Settings) -> Iterator[str]:
    """Yield what another terminal needs to run `daftari` on this data folder."""
    script = Path(sys.executable).with_name("daftari")
    if script.exists() and shutil.which("daftari") != str(script):
        yield f"export PATH={shlex.quote(str(script.parent))}:$PATH"
    if settings.daftari_data_dir != default_data_folder(os.environ):
        yield f"export DAFTARI_DATA_DIR={shlex.quote(str(settings.daftari_data_dir))}"


def _member(name: str) -> str:
    """Return a filter that prints a text member of a JSON object."""
    return f'sed -n \'s/.*"{name}":"\\([^"]*\\)".*/\\1/p\''
