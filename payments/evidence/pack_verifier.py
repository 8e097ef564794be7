"""Check an evidence pack of Daftari without Daftari: `python verify.py pack.zip`, or in the folder of an unpacked one.

It needs Python 3.10 or newer and the package `cryptography` (`pip install cryptography`), no network and no database.
It prints what is proved, by whom, and what is not, and ends with 0; where a byte of the pack was changed it says so,
and ends with 1; where the pack is as it was signed, but holds events that are not genuine, it names them first, and
ends with 3. Take it from a place that you trust rather than from the pack, and give the public key of Daftari's
blocks as you got it elsewhere: `--key HEX`. The form of a pack is described in docs/evidence.md of Daftari.
"""

import argparse
import json
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "daftari evidence pack v1"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
EVENTS, PROOFS, MESSAGES = "events.json", "proofs.json", "messages.json"
MAX_PACK_BYTES = 64 * 1024 * 1024

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_FIRST_DAY = 0x21  # 1 January 1980, where the time of ZIP files begins
_GENESIS = bytes(32)
_ALTERED = "its content is not the one that its hash was made of. It was altered in the log."
_NOT_OURS = "the holder of the key says that it lacks Daftari's MAC. Somebody else wrote it into the log."


@dataclass(frozen=True)
class Report:
    """What a pack proves, line by line, and the versions of its events that are not genuine."""

    lines: list[str]
    forged: list[int]


class PackChanged(Exception):
    """The pack is not what was signed; the sentence says where."""


def zip_of(files: dict[str, bytes]) -> bytes:
    """Return the one archive of these files: stored as they are, in the order of their names, without times."""
    parts, central, at = [], [], 0
    for name, content in sorted(files.items()):
        encoded = name.encode("ascii")
        sizes = (zlib.crc32(content), len(content), len(content), len(encoded), 0)
        about = struct.pack("<5H3I2H", 20, 0, 0, 0, _FIRST_DAY, *sizes)
        parts += [_LOCAL, about, encoded, content]
        attributes = struct.pack("<3H2I", 0, 0, 0, 0o100644 << 16, at)
        central += [_CENTRAL, struct.pack("<H", 3 << 8 | 20), about, attributes, encoded]
        at += len(_LOCAL) + len(about) + len(encoded) + len(content)
    directory = b"".join(central)
    end = struct.pack("<4H2IH", 0, 0, len(files), len(files), len(directory), at, 0)
    return b"".join([*parts, directory, _END, end])


def files_of(archive: bytes) -> dict[str, bytes]:
    """Return the files of an archive. Raises PackChanged unless it is, to the byte, the one archive of them."""
    files: dict[str, bytes] = {}
    at = 0
    try:
        while archive[at : at + 4] == _LOCAL:
            size, length = (
                struct.unpack_from("<I", archive, at + 22)[0],
                struct.unpack_from("<H", archive, at + 26)[0],
            )
            start = at + 30 + length
            files[archive[at + 30 : start].decode("ascii")] = archive[start : start + size]
            at = start + size
        rebuilt = zip_of(files)
    except (struct.error, UnicodeError):
        rebuilt = b""
    if not files or rebuilt != archive:
        raise PackChanged(
            "The file is no evidence pack, or bytes of the archive around its files were changed."
        )
    return files


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder where a pack was unpacked, by their names in it.

    Raises PackChanged for what no pack unpacks to: links, pipes and the like, and folders without a file.
    """
    files = {}
    for path in sorted(folder.rglob("*")):
        is_folder = path.is_dir() and any(path.iterdir())
        if path.is_symlink() or not (path.is_file() or is_folder):
            raise PackChanged(f"{path.relative_to(folder).as_posix()} was added: it is no file of a pack.")
        if not is_folder:
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files


def check(files: dict[str, bytes], keys: list[bytes]) -> Report:
    """Check the files of a pack and return the report.

    `keys` are the public keys to believe, 32 bytes each; without any, the key in the pack is, and the report says so.
    Raises PackChanged.
    """
    try:
        manifest = _manifest(files, keys)
        events, proofs, messages = (json.loads(files[name]) for name in (EVENTS, PROOFS, MESSAGES))
        altered = _check_events(manifest, events)
        _check_head(manifest, proofs["head"])
        _check_proofs(proofs, events)
        proved = _check_messages(files, events, messages)
        told = _report(manifest, events, proofs, messages, proved, altered, is_pinned=bool(keys))
        lines = [*_warning(events, altered), *told]
        return Report([_shown(line) for line in lines], _forged(events))
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise PackChanged(f"It was signed, but not in the form of an evidence pack ({error!r}).") from error


def _manifest(files: dict[str, bytes], keys: list[bytes]) -> dict[str, Any]:
    """Check the signature over the manifest, and every file against it; return it."""
    if MANIFEST not in files or SIGNATURE not in files:
        raise PackChanged(f"{MANIFEST} or {SIGNATURE} is missing: this is no evidence pack.")
    try:
        manifest: dict[str, Any] = json.loads(files[MANIFEST])
        key = bytes.fromhex(manifest["public_key"])
        Ed25519PublicKey.from_public_bytes(key).verify(files[SIGNATURE], signed_text(files[MANIFEST]))
    except (InvalidSignature, ValueError, KeyError, TypeError, RecursionError):
        raise PackChanged(
            f"{MANIFEST} or its signature was changed: it is not what its key signed."
        ) from None
    if manifest["format"] != FORMAT:
        raise PackChanged(
            f"This verifier reads packs of the form {FORMAT!r} only; get that of a newer release."
        )
    if keys and key not in keys:
        raise PackChanged(f"The pack was signed by {key.hex()}, which is not a key that you gave.")
    _check_files(files, manifest["files"])
    return manifest


def _check_files(files: dict[str, bytes], listed: dict[str, Any]) -> None:
    for name in sorted({*listed, *files} - {MANIFEST, SIGNATURE}):
        if name not in files:
            raise PackChanged(f"{name} is missing.")
        if name not in listed:
            raise PackChanged(f"{name} was added: the manifest does not list it.")
        if sha256(files[name]).hexdigest() != listed[name]["sha256"]:
            raise PackChanged(f"{name} was changed.")


def signed_text(manifest: bytes) -> bytes:
    """Return what the signature is over: the form, a zero byte, and the manifest as it is in the pack."""
    return FORMAT.encode() + b"\0" + manifest


def _check_events(manifest: dict[str, Any], events: list[dict[str, Any]]) -> list[int]:
    """Check each genuine event against its hash and the one before; return the others that do not fit theirs."""
    altered, hashes, last = [], {0: _GENESIS}, 0
    for event in events:
        version = event["version"]
        previous = hashes.get(version - 1)
        is_missing = previous is None and _is_genuine(event)
        if event["session_id"] != manifest["session_id"] or version <= last or is_missing:
            raise PackChanged(f"Event {last + 1} is missing, or of another payment.")
        if previous is None or (event["previous_hash"], event["hash"]) != (
            previous.hex(),
            _hash_of(event, previous),
        ):
            if _is_genuine(event):
                raise PackChanged(f"Event {version} is not the one that its hash was made of.")
            altered.append(version)
        hashes[version], last = bytes.fromhex(event["hash"]), version
    return altered


def _hash_of(event: dict[str, Any], previous: bytes) -> str | None:
    """Return the hash of an event's content, None if that is no JSON with a canonical form."""
    try:
        state, metadata = (
            (event["state"], event["metadata"])
            if _is_genuine(event)
            else (json.loads(event[name] or "null") for name in ("state_text", "metadata_text"))
        )
        content = [event["session_id"], event["version"], event["topic"], state]
        digest = sha256(_canonical(content if metadata is None else [*content, metadata])).digest()
    except (ValueError, RecursionError):
        return None
    return sha256(previous + digest).hexdigest()


def _is_genuine(event: dict[str, Any]) -> bool:
    """Say whether an event is to fit its hash: each that the pack does not call forged."""
    return event.get("is_genuine") is not False


def _forged(events: list[dict[str, Any]]) -> list[int]:
    return [event["version"] for event in events if not _is_genuine(event)]


def _check_head(manifest: dict[str, Any], head: dict[str, Any]) -> None:
    content = [
        "daftari block v2",
        head["origin"],
        head["number"],
        head["after_position"],
        head["until_position"],
    ]
    content += [head["events"], head["digest"], head["previous_hash"], head["public_key"], head["signed_at"]]
    content += [head["tree_size"], head["root_hash"]]
    found = sha256(_canonical(content)).digest()
    name = f"{head['origin']}-{head['number']}-{found.hex()}"
    if (
        head["hash"] != found.hex()
        or manifest["head"] != name
        or head["public_key"] != manifest["public_key"]
    ):
        raise PackChanged("The head is not the one that its hash was made of, or is signed by another key.")
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(head["public_key"]))
        key.verify(bytes.fromhex(head["signature"]), found)
    except InvalidSignature:
        raise PackChanged("The head is not signed by its key.") from None


def _check_proofs(proofs: dict[str, Any], events: list[dict[str, Any]]) -> None:
    head = proofs["head"]
    if len(proofs["inclusion"]) != len(events):
        raise PackChanged("There is not one proof for each event.")
    for event, proof in zip(events, proofs["inclusion"], strict=True):
        leaf = int(event["position"]).to_bytes(8, "big") + bytes.fromhex(event["hash"])
        root = _root(leaf, int(proof["leaf_index"]), int(head["tree_size"]), proof["audit_path"])
        if root is None or root.hex() != head["root_hash"]:
            raise PackChanged(f"Event {event['version']} is not proved to be under the head.")


def _check_messages(
    files: dict[str, bytes], events: list[dict[str, Any]], messages: list[dict[str, Any]]
) -> dict[str, list[int]]:
    """Check each message against the events that commit to it; return their versions by its file."""
    commitments: dict[str, list[tuple[int, str]]] = {}
    for event in filter(_is_genuine, events):
        metadata = event["metadata"] or {}
        if commitment := metadata.get("source_commitment"):
            commitments.setdefault(metadata["source"], []).append((event["version"], commitment))
    proved = {}
    for message in messages:
        name, committed = message["file"], commitments.get(message["inbox_id"], [])
        if name in files and committed:
            found = sha256(bytes.fromhex(message["salt"] or "") + files[name]).hexdigest()
            for version, commitment in committed:
                if commitment != found:
                    raise PackChanged(f"{name} is not the message that event {version} was recorded from.")
            proved[name] = [version for version, _ in committed]
    return proved


def _root(leaf: bytes, index: int, size: int, path: list[str]) -> bytes | None:
    """Return the root that an audit path leads to (RFC 9162, 2.1.3.2), None if it does not fit the tree."""
    if not 0 <= index < size:
        return None
    first, last, found = index, size - 1, sha256(b"\0" + leaf).digest()
    for text in path:
        if last == 0:
            return None
        sibling = bytes.fromhex(text)
        if first & 1 or first == last:
            found = sha256(b"\1" + sibling + found).digest()
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found = sha256(b"\1" + found + sibling).digest()
        first, last = first >> 1, last >> 1
    return found if last == 0 else None


def _canonical(value: Any) -> bytes:
    """Return JSON as RFC 8785 spells it, for values without fractions and names of ASCII letters."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _warning(events: list[dict[str, Any]], altered: list[int]) -> Iterator[str]:
    forged = _forged(events)
    if not forged:
        return
    yield f"NOT GENUINE: event {_listed(forged)} of the payment is not as Daftari wrote it. Believe no word of it."
    for version in forged:
        yield f"- Event {version}: {_ALTERED if version in altered else _NOT_OURS}"
    yield f"Account, requests, order, refunds and movements are told by the events before event {forged[0]} alone."
    yield ""


def _report(
    manifest: dict[str, Any],
    events: list[dict[str, Any]],
    proofs: dict[str, Any],
    messages: list[Any],
    proved: dict[str, list[int]],
    altered: list[int],
    *,
    is_pinned: bool,
) -> Any:
    head, key = proofs["head"], manifest["public_key"]
    whose = (
        "the key that you gave"
        if is_pinned
        else "the key in the pack; compare it with one that you got elsewhere"
    )
    yield f"Evidence of payment session {manifest['session_id']}, under head {manifest['head']}."
    yield ""
    yield f"PROVED, by the holder of the key {key} ({whose}):"
    yield f"- The pack is as it was signed: none of its {len(manifest['files'])} files was changed, added or removed."
    yield f"- Events 1 to {len(events)} of the payment are unchanged and in order, none left out: their hashes fit."
    if altered:
        yield f"  But for event {_listed(altered)}, whose content was altered: what it was is known by its hash alone."
    yield f"- Each was in Daftari's log when the head was signed, by Daftari's clock at {head['signed_at']}."
    for name, versions in proved.items():
        yield f"- {name} is, to the byte, what event {_listed(versions)} was recorded from: the event commits to it."
    yield ""
    yield "SAID by the holder of that key, and proved by nothing in here:"
    yield f"- That M-Pesa posted or answered the {len(messages)} messages: M-Pesa signs none."
    if others := len(messages) - len(proved):
        yield f"- That {others} of them are as they came, or had to be left out: no event commits to what is here."
    yield "- When events were recorded, what the order was, and what M-Pesa's books showed."
    yield f"- {manifest['personal_data']}"
    yield ""
    yield "NOT PROVED:"
    yield "- That money moved: compare receipt, amount and time with M-Pesa's own statement."
    yield f"- That nothing happened to the payment after event {len(events)}."
    yield "- That the holder of the key shows everybody this same log: compare the head with one that was published."
    yield ""
    yield "WHAT THE EVENTS SAY (moments are UTC, amounts are cents of a shilling):"
    for event in events:
        if not _is_genuine(event):
            yield f"{event['version']:3}. NOT GENUINE: it says to be {event['topic']}"
            continue
        state = event["state"]
        told = [
            f"{name} {state[name]}"
            for name in ("attempt", "receipt", "amount_cents", "refund")
            if state.get(name)
        ]
        yield f"{event['version']:3}. {state['timestamp']}  {event['event']}  {', '.join(told)}".rstrip()


def _listed(versions: list[int]) -> str:
    return ", ".join(map(str, versions))


def _shown(line: str) -> str:
    """Return one line whose text from a pack moves no cursor and begins no other line."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)


def read_pack(pack: Path) -> dict[str, bytes]:
    """Return the files of a pack, a ZIP file or a folder. Raises PackChanged, and OSError."""
    if pack.is_dir():
        return files_in(pack)
    if pack.stat().st_size > MAX_PACK_BYTES:
        raise PackChanged("The file is larger than any evidence pack.")
    return files_of(pack.read_bytes())


def _key(text: str) -> bytes:
    key = bytes.fromhex(text)
    Ed25519PublicKey.from_public_bytes(key)
    return key


def main() -> int:
    """Check the pack that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(description="Check an evidence pack of Daftari, offline.")
    parser.add_argument(
        "pack", nargs="?", default=".", help="the ZIP file, or the folder where it was unpacked"
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        type=_key,
        metavar="HEX",
        help="a public key to believe, 64 hex digits",
    )
    given = parser.parse_args()
    try:
        report = check(read_pack(Path(given.pack)), given.key)
        said, exit_code = "\n".join(report.lines), 3 if report.forged else 0
    except PackChanged as found:
        said, exit_code = _shown(f"NOT AS IT WAS SIGNED: {found}"), 1
    except OSError as error:
        said, exit_code = f"{given.pack} cannot be read: {error.strerror}", 2
    sys.stdout.write(said + "\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
