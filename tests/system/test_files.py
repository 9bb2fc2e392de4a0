"""Files written whole or not at all: what is on the disk before a name is given, and what a killed process leaves."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from couplings.basics.errors import UserError
from couplings.system.files import folder_for, half_written, refuse_foreign, remove_leftovers, replacing, write_bytes

_KILLED = """
import os, signal, sys
from pathlib import Path
from couplings.system.files import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("written", flush=True)
    sys.stdin.read() if sys.argv[2] == "wait" else os.kill(os.getpid(), signal.SIGKILL)
"""


def _process(path: Path, how: str) -> subprocess.Popen[bytes]:
    """A process that is in the middle of writing a file when this returns."""
    words = [sys.executable, "-c", _KILLED, str(path), how]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    return process


def _parts(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if half_written(path)]


def test_all_bytes_are_on_the_disk_before_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "file", list[tuple[int, bytes]]()
    path.write_bytes(b"old")
    monkeypatch.setattr("os.fsync", lambda handle: seen.append((os.fstat(handle).st_size, path.read_bytes())))
    write_bytes(path, b"new words")
    assert seen == [(len(b"new words"), b"old")]
    assert path.read_bytes() == b"new words"
    assert _parts(tmp_path) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_a_file_is_the_users_choice(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "file", b"words")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_what_a_killed_process_left_goes_with_the_next_file_of_the_folder(tmp_path: Path) -> None:
    with _process(tmp_path / "one", "die") as process:
        process.wait()
    assert len(_parts(tmp_path)) == 1
    write_bytes(tmp_path / "another", b"words")
    assert [path.name for path in tmp_path.iterdir()] == ["another"]


def test_what_a_living_process_is_writing_stays(tmp_path: Path) -> None:
    with _process(tmp_path / "one", "wait") as process:
        begun = _parts(tmp_path)
        write_bytes(tmp_path / "another", b"words")
        remove_leftovers(tmp_path)
        assert _parts(tmp_path) == begun
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0
    assert (tmp_path / "one").read_bytes() == b"half"


def test_a_file_is_no_leftover_until_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.replace

    def replace(old: Path, new: Path) -> None:
        remove_leftovers(tmp_path)
        rename(old, new)

    monkeypatch.setattr("os.replace", replace)
    write_bytes(tmp_path / "file", b"words")
    assert (tmp_path / "file").read_bytes() == b"words"


def test_two_files_of_one_process_are_written_at_once(tmp_path: Path) -> None:
    with replacing(tmp_path / "one") as one, replacing(tmp_path / "two") as two:
        one.write(b"1")
        two.write(b"2")
    assert [(tmp_path / name).read_bytes() for name in ("one", "two")] == [b"1", b"2"]


def test_files_of_others_are_no_leftovers(tmp_path: Path) -> None:
    names = {"movie.part", ".part", ".movie.part", ".a.UPPER123.part", "a.0a1b2c3d.part"}
    for name in names:
        (tmp_path / name).write_bytes(b"mine")
    write_bytes(tmp_path / "file", b"words")
    assert {path.name for path in tmp_path.iterdir()} == {"file", *names}


def test_files_of_an_earlier_call_and_of_other_names_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("mine")
    refuse_foreign(tmp_path, ["marker.json", "table.csv"])
    (tmp_path / "marker.json").write_text('{"couplings": "0.1"}')
    (tmp_path / "table.csv").write_text("of an earlier call")
    refuse_foreign(tmp_path, ["marker.json", "table.csv"])


@pytest.mark.parametrize("content", ["", "[]", "{", "mine", '{"name": 1}', "[" * 10_000])
def test_files_that_are_not_ours_are_never_replaced(tmp_path: Path, content: str) -> None:
    names = ["marker.json", "table.csv"]
    (tmp_path / "marker.json").write_text(content)
    with pytest.raises(UserError, match=r"marker\.json exists, and no marker\.json beside it .* move the file away"):
        refuse_foreign(tmp_path, names)
    (tmp_path / "marker.json").unlink()
    (tmp_path / "table.csv").write_text(json.dumps(1))
    with pytest.raises(UserError, match=r"table\.csv exists"), folder_for(tmp_path, names):
        pass
