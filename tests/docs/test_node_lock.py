"""The packages for Node.js are pinned with hashes, and their lock names no registry."""

import json

from tests.support.node import LOCK, PROJECT


def test_the_lock_for_node_pins_and_hashes_everything_and_names_no_registry() -> None:
    lock = json.loads(LOCK.read_text("utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert len(packages) > 30
    assert all(entry["integrity"].startswith("sha512-") and entry["version"] for entry in packages.values())
    assert not [name for name, entry in packages.items() if "resolved" in entry]
    assert not [name for name, entry in packages.items() if entry.get("hasInstallScript")]


def test_the_lock_for_node_is_of_the_packages_that_are_asked_for() -> None:
    lock = json.loads(LOCK.read_text("utf-8"))
    wanted = json.loads((PROJECT / "package.json").read_text("utf-8"))
    assert lock["packages"][""]["devDependencies"] == wanted["devDependencies"]
