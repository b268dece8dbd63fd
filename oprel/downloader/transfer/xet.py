"""Reads a file that exists only in Xet storage, with Hugging Face's own library.

It serves ranges like HTTP, so resuming, verification and everything else work as in any transfer.
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
    """Reads `file` at `place`; no data for `stall_timeout` seconds is a failure."""

    def __init__(self, file: RemoteFile, place: XetPlace, stall_timeout: float) -> None:
        self._file, self._place, self._stall_timeout = file, place, stall_timeout
        self._group: XetDownloadStreamGroup | None = None
        self._opening = anyio.Lock()

    @asynccontextmanager
    async def range(self, first: int, last: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes from `first` to `last`. It and the iteration raise TryAgain, DownloadError."""
        async with self._opening:
            group = self._group = self._group or await self._in_time(self._open)
        stream = await self._in_time(lambda: _stream(group, self._place.hash, first, last))
        yield self._pieces(stream)  # not closed here: a thread may still wait for it and cannot be cancelled

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
                f"{self._file.name} exists only in Xet storage, and hf_xet is not installed",
                "Install it in oprel's environment: pip install hf_xet.",
            ) from None
        return XetSession().new_download_stream_group(
            token_refresh_url=self._place.tokens_url, token_refresh_headers=dict(self._place.headers)
        )


def _stream(group: "XetDownloadStreamGroup", file_hash: str, first: int, last: int) -> "XetDownloadStream":
    from hf_xet import XetFileInfo

    return group.download_stream(XetFileInfo(file_hash, last + 1), start=first, end=last + 1)


@contextmanager
def _failures() -> Iterator[None]:
    """Translate the library's errors: OSError subclasses, and others from its own code."""
    try:
        yield
    except PermissionError as error:
        raise DownloadError(
            f"Xet storage refused access: {error}", "Log in with `oprel hf login`.", fault="authentication"
        ) from error
    except FileNotFoundError as error:
        raise DownloadError(f"Xet storage does not have the file: {error}", "Ask the repository's owner.") from error
    except TimeoutError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise TryAgain(f"Xet storage cannot be read: {error}") from error
