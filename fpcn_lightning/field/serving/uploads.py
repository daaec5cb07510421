"""Where uploaded photographs are kept while they are classified: in a folder of this process, which is removed."""

import asyncio
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from pathlib import Path

from fastapi import HTTPException
from filelock import FileLock, Timeout
from starlette.requests import ClientDisconnect

from fpcn_lightning.errors import UserError

PREFIX = "fpcn-serve-"
UPLOAD_SECONDS = 300  # that the body of one request may take
MAX_FILES = 500  # stored at a time

_LOCK = "lock"
_STARTING_SECONDS = 60  # a younger folder may belong to a server that has not locked it yet


class FileTooLarge(UserError):  # noqa: N818 - it names what is wrong with the file
    """An upload that is longer than allowed. The message is the reason alone."""


@contextmanager
def upload_folder() -> Iterator[Path]:
    """A new folder that only this user can read, removed at the end; folders of servers that were killed are too."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    _remove_abandoned(folder)
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        with lock:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(own: Path) -> None:
    """Remove upload folders of this user that no running server has locked."""
    user = own.stat().st_uid
    for folder in own.parent.glob(f"{PREFIX}*"):
        try:
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != user:
                continue
            if time.time() - found.st_mtime < _STARTING_SECONDS:
                continue
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (OSError, Timeout):
            continue


class UploadStore:
    """Stores uploads under names of its own for as long as they are classified.

    Clients choose neither a path nor a name, and no request returns a stored file.

    Args:
        folder: of `upload_folder`.
        max_file: bytes of one file.
        max_total: bytes of all requests that are being answered.
        max_files: stored at a time.
        seconds: that receiving one request may take.
    """

    def __init__(
        self,
        folder: Path,
        max_file: int,
        max_total: int,
        *,
        max_files: int = MAX_FILES,
        seconds: float = UPLOAD_SECONDS,
    ) -> None:
        self.max_file = max_file
        self._folder = folder
        self._max_total = max_total
        self._max_files = max_files
        self._seconds = seconds
        self._bytes = 0
        self._files = 0

    @contextmanager
    def reserved(self, size: int, files: int = 1) -> Iterator[None]:
        """Count `size` bytes in `files` files as stored.

        Raises:
            HTTPException: 503 if there is no room at present.
        """
        if self._bytes + size > self._max_total or self._files + files > self._max_files:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, "The server is busy: try again later.", {"Retry-After": "5"}
            )
        self._bytes += size
        self._files += files
        try:
            yield
        finally:
            self._bytes -= size
            self._files -= files

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[None]:
        """Limit the time in which the body of a request is received.

        Raises:
            HTTPException: 408 if it takes longer, or if the client disconnects.
        """
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except (TimeoutError, ClientDisconnect) as error:
            raise HTTPException(
                HTTPStatus.REQUEST_TIMEOUT, "The upload took too long or was interrupted.", {"Connection": "close"}
            ) from error

    @asynccontextmanager
    async def stored(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[Path]:
        """Write an upload to a file, which is deleted at the end.

        Raises:
            FileTooLarge: it is longer than `max_file`.
            HTTPException: 408 as `receiving`.
        """
        path = self._folder / secrets.token_hex(16)
        try:
            with path.open("xb") as file:
                async with self.receiving():
                    size = 0
                    async for chunk in chunks:
                        size += len(chunk)
                        if size > self.max_file:
                            limit = self.max_file // 2**20
                            raise FileTooLarge(f"the file is larger than {limit} MB, the limit of this server")
                        file.write(chunk)
            yield path
        finally:
            path.unlink(missing_ok=True)
