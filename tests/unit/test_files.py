"""Writing that leaves the old or the new behind, never half, and says what was wrong in one sentence."""

import errno
import os

import pytest

from deeptalk.errors import UserError
from deeptalk.files import atomic_folder, atomic_path, write_text


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def write_half(path, code):
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise OSError(code, os.strerror(code))


def write_half_folder(path, code):
    with atomic_folder(path, "mark") as folder:
        (folder / "mark").write_text("new")
        raise OSError(code, os.strerror(code))


def write_to_a_full_device(path):
    with atomic_path(path), open("/dev/full", "w") as full:
        full.write("x")
        full.flush()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_keeps_the_old_file(tmp_path, code):
    write_text(tmp_path / "take é 1.txt", "old")
    with pytest.raises(UserError, match=rf"Cannot write .*take é 1.txt: {os.strerror(code)}. Make room"):
        write_half(tmp_path / "take é 1.txt", code)
    assert (tmp_path / "take é 1.txt").read_text() == "old"
    assert left_in(tmp_path) == ["take é 1.txt"]


def test_a_full_disk_keeps_the_old_folder(tmp_path):
    with atomic_folder(tmp_path / "run", "mark") as folder:
        (folder / "mark").write_text("old")
    with pytest.raises(UserError, match="Make room"):
        write_half_folder(tmp_path / "run", errno.ENOSPC)
    assert (tmp_path / "run" / "mark").read_text() == "old"
    assert left_in(tmp_path) == ["run"]


def test_other_errors_inside_are_passed_on(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "file"):
        raise FileNotFoundError(errno.ENOENT, "something else", "elsewhere")
    assert left_in(tmp_path) == []


def test_a_file_in_the_way_is_named(tmp_path):
    write_text(tmp_path / "file", "text")
    with pytest.raises(UserError, match="file is a file, not a folder"):
        write_text(tmp_path / "file" / "inside", "text")


def test_a_really_full_disk(tmp_path):
    """/dev/full refuses every write as a full disk does."""
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    with pytest.raises(UserError, match=r"No space left on device\. Make room"):
        write_to_a_full_device(tmp_path / "file")
    assert left_in(tmp_path) == []


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    write_text(tmp_path / "run" / "thesis.txt", "text")
    with pytest.raises(UserError, match="holds something else"), atomic_folder(tmp_path / "run", "mark"):
        pass
    assert left_in(tmp_path / "run") == ["thesis.txt"]
