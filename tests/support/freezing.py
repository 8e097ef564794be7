"""Freezing time looks for clocks in every module that is imported: here it lists the names of each only once."""

from types import ModuleType

import freezegun.api


def know_modules_by_length() -> None:
    """Let freezegun list a module's names again if their number has changed, in place of comparing all of them.

    The suite imports 2,800 modules and freezes time a thousand times, at 20 ms each.
    """
    freezegun.api._get_module_attributes_hash = _size


def _size(module: ModuleType) -> str:
    return f"{id(module)}-{len(vars(module))}"
