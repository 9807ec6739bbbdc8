"""The state directory: locked by one process, and checked, because it can be deleted or replaced while it is used."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from waiter.errors import ConfigurationError, WaiterError


class StateLostError(WaiterError):
    """The state directory or the database in it was deleted or replaced, and cannot be written anew."""


class StateDirectory:
    """A directory that is locked for this process. Raises ConfigurationError when it is not usable or locked already.

    The kernel releases the lock when the process ends for any reason.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = _lock(path)

    def is_locked(self) -> bool:
        """Return whether the lock still excludes other processes: its file was not deleted or replaced."""
        return is_same_file(self._path / "lock", os.fstat(self._lock))

    def lock_again(self) -> None:
        """Lock the directory that is at the path now, which is created if there is none. Raises ConfigurationError."""
        lock = _lock(self._path)
        os.close(self._lock)
        self._lock = lock

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)


def is_same_file(path: Path, known: os.stat_result) -> bool:
    """Return whether a path still leads to a known file."""
    try:
        return os.path.samestat(path.stat(), known)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # a network file system that does not respond: nothing is known
        return True


def sync_directory(path: Path) -> None:
    """Make the names of the files in a directory survive a power cut. Raises OSError."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _lock(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"cannot use the state directory {directory}: {error.strerror}"
        raise ConfigurationError(message) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        message = f"the state directory {directory} is used by another sidecar: each sidecar needs its own directory"
        raise ConfigurationError(message) from error
    return lock
