"""What the verifier makes of a folder and of text by somebody who means to deceive."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from payments.evidence.pack_verifier import PackChanged, _shown, files_in


@pytest.mark.parametrize(
    "add",
    [
        lambda path: path.symlink_to("/etc"),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to("manifest.json"),
        os.mkfifo,
        Path.mkdir,
    ],
)
def test_what_no_pack_unpacks_to_is_found(tmp_path: Path, add: Callable[[Path], object]) -> None:
    (tmp_path / "messages").mkdir()
    for name in ("manifest.json", "messages/001.json"):
        (tmp_path / name).write_text(name)
    assert list(files_in(tmp_path)) == ["manifest.json", "messages/001.json"]
    add(tmp_path / "more")
    with pytest.raises(PackChanged, match="more was added"):
        files_in(tmp_path)


def test_text_of_a_pack_moves_no_cursor_and_begins_no_line() -> None:
    assert _shown("at 1\nPROVED\x1b[2J\u202eé") == "at 1\\nPROVED\\x1b[2J\\u202eé"
