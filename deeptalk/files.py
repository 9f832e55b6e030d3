"""Writing that never leaves half a file behind, and hashes of what was written."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deeptalk.errors import UserError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""Errors of writing that come in the middle of it."""


@contextlib.contextmanager
def _room_for(path: Path) -> Iterator[None]:
    """Turn a full or failing disk into a UserError; whatever else goes wrong inside is not ours to name."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _cannot_write(path, error) from error
        raise


def _cannot_write(path: Path, error: OSError) -> UserError:
    in_the_way = next((folder for folder in path.parents if os.path.isfile(folder)), None)
    reason = f"{in_the_way} is a file, not a folder" if in_the_way else error.strerror
    advice = "Make room, or choose another disk." if error.errno in _NO_ROOM else "Choose a folder you can write to."
    return UserError(f"Cannot write {path}: {reason}. {advice}")


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the place of `path` only if the block succeeds.

    The temporary name keeps the suffix, so writers that choose a format by suffix work. Raises UserError where the
    folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        with _room_for(path):
            yield temporary
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path, marker: str) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it replaces the folder `path` only if the block succeeds.

    `marker` is a file that every folder of this kind has: what is replaced has it or is empty. Raises UserError for a
    file, a folder of anything else, or where nothing can be written. A process killed between the two renames leaves
    nothing at `path`, the old folder in `.NAME-old-*/NAME` beside it and the new one in `.NAME-*`; an error between
    them puts the old folder back.
    """
    path = Path(path)
    if path.is_file():
        raise UserError(f"{path} is a file; a folder is written there. Give another name.")
    if path.is_dir() and any(path.iterdir()) and not (path / marker).is_file():
        raise UserError(f"{path} holds something else ({marker} is missing), which is not replaced. Give another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with _room_for(path):
            yield temporary
            os.chmod(temporary, 0o755)
            if path.exists():
                _replace_folder(path, temporary)
            else:
                os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(path: Path, new: Path) -> None:
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
    try:
        os.replace(path, old / path.name)
        os.replace(new, path)
    except BaseException:
        if os.path.lexists(old / path.name):
            os.replace(old / path.name, path)
        old.rmdir()
        raise
    shutil.rmtree(old)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON atomically, sorted as given, two spaces of indent."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON; raises UserError where the file is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; expected a JSON file there.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); write it again or restore it.") from error


def file_sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
