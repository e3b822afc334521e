"""A journal on disk: whole lines, locked while its writer lives, and nothing under its name before that."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from django.conf import settings

from panicboard.break_glass.sealed_file import sync_directory

#: What to append for everything to reach the disk.
SYNC = b""


class JournalFile:
    """One journal, opened for writing. Every method raises OSError when the disk will not have it."""

    def __init__(self, path: Path, first: bytes, *, for_keeper: bool) -> None:
        """Put the first line on disk under a lock, and only then under the name by which it is imported.

        `for_keeper`: what root writes in an emergency is given to whoever runs panicboard.
        """
        if path.exists():
            raise FileExistsError(errno.EEXIST, "there is a file already")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(fresh, flags, 0o600)
        self._length = 0
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if for_keeper:
                _give_away(self._descriptor, path.parent)
            self.append(first)
            self.append(SYNC)
            os.rename(fresh, path)
        except OSError:
            self.close()
            fresh.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)

    def append(self, line: bytes) -> None:
        """Write the whole line, or leave the file as it was: half a line would end it for its reader."""
        if line == SYNC:
            os.fsync(self._descriptor)
            return
        written = os.write(self._descriptor, line)
        if written < len(line):
            os.ftruncate(self._descriptor, self._length)
            raise OSError(errno.ENOSPC, "no space left")
        self._length += written

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.fsync(self._descriptor)
        os.close(self._descriptor)


def _give_away(descriptor: int, directory: Path) -> None:
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            owner = Path(settings.VAR_DIR).stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
            os.chown(directory, owner.st_uid, owner.st_gid)
