"""A file that its hub keeps in Xet storage only, in pieces: put together by Hugging Face's own library.

Ranges are had of it as over HTTP, so resuming, verification and all else are those of every transfer.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from oprel.core.exceptions import DownloadError
from oprel.downloader.source import RemoteFile
from oprel.downloader.transfer.ranges import TryAgain, XetPlace

if TYPE_CHECKING:
    from hf_xet import XetDownloadStream, XetDownloadStreamGroup

Result = TypeVar("Result")


class XetReading:
    """Reads `file`, which is at `place`; no answer for `stall_timeout` seconds is a failure."""

    def __init__(self, file: RemoteFile, place: XetPlace, stall_timeout: float) -> None:
        self._file, self._place, self._stall_timeout = file, place, stall_timeout
        self._group: XetDownloadStreamGroup | None = None
        self._opening = anyio.Lock()

    @asynccontextmanager
    async def range(self, first: int, last: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes from `first` to `last`. Raises TryAgain, DownloadError; so does the reading."""
        async with self._opening:
            group = self._group = self._group or await self._in_time(self._open)
        stream = await self._in_time(lambda: _stream(group, self._place.hash, first, last))
        yield self._pieces(stream)  # ends when nobody has it any more: a thread that waits for it still cannot be told

    async def _pieces(self, stream: Iterator[bytes]) -> AsyncIterator[bytes]:
        while piece := await self._in_time(lambda: next(stream, b"")):
            yield piece

    async def _in_time(self, act: Callable[[], Result]) -> Result:
        try:
            with anyio.fail_after(self._stall_timeout), _failures():
                return await anyio.to_thread.run_sync(act, abandon_on_cancel=True)
        except TimeoutError:
            raise TryAgain(f"Xet storage sent nothing for {self._stall_timeout:.0f} s") from None

    def _open(self) -> "XetDownloadStreamGroup":
        try:
            from hf_xet import XetSession
        except ImportError:
            raise DownloadError(
                f"{self._file.name} is in Xet storage only, and what reads it is not installed",
                "Install it beside oprel: pip install hf_xet.",
            ) from None
        return XetSession().new_download_stream_group(
            token_refresh_url=self._place.tokens_url, token_refresh_headers=dict(self._place.headers)
        )


def _stream(group: "XetDownloadStreamGroup", file_hash: str, first: int, last: int) -> "XetDownloadStream":
    from hf_xet import XetFileInfo

    return group.download_stream(XetFileInfo(file_hash, last + 1), start=first, end=last + 1)


@contextmanager
def _failures() -> Iterator[None]:
    """The library's errors, which are the system's, and others where its own code fails."""
    try:
        yield
    except PermissionError as error:
        raise DownloadError(f"Xet storage refuses: {error}", "`oprel hf login` takes a token.") from error
    except FileNotFoundError as error:
        raise DownloadError(f"Xet storage has no such file: {error}", "Ask the repository's owner.") from error
    except TimeoutError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise TryAgain(f"Xet storage cannot be read: {error}") from error
