"""The settings of this machine: its environment, and beneath it what its data folder holds."""

import base64
import secrets
from collections.abc import Mapping
from pathlib import Path

from api.local.folders import default_data_folder, read_or_make_private_file
from api.local.instances import running_instance
from api.setting_rules import TOKEN_KEY_NAMES
from api.setting_values import MASTER_KEY_BYTES
from api.settings import Settings, load_settings


def local_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings of a process on this machine; raise ConfigurationError, LocalRuntimeError."""
    return load_settings(environ, local_defaults(environ))


def local_defaults(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that this machine adds to an environment.

    These are its data folder, the variables of the instance that runs on it, and in development the secrets that are
    not given, generated once. Raises LocalRuntimeError if the folder cannot be used.
    """
    given = {name: text.strip() for name, text in environ.items() if text.strip()}
    folder = Path(given.get("DAFTARI_DATA_DIR") or default_data_folder(environ)).expanduser().absolute()
    defaults = {"DAFTARI_DATA_DIR": str(folder), **running_instance(folder)}
    if given.get("DAFTARI_MODE", "development") == "development":
        if not given.keys() & set(TOKEN_KEY_NAMES):
            fresh = secrets.token_hex(32)
            defaults["DAFTARI_JWT_SECRET"] = read_or_make_private_file(folder / "jwt-secret", fresh)
        if "DAFTARI_MASTER_KEY" not in given:
            fresh = base64.b64encode(secrets.token_bytes(MASTER_KEY_BYTES)).decode()
            defaults["DAFTARI_MASTER_KEY"] = read_or_make_private_file(folder / "master-key", fresh)
    return defaults
