r"""The named pipes of Windows, `\\.\pipe\NAME`, in byte mode, for the own user of this machine only.

asyncio's own pipe server passes no security attributes, accepts clients of other machines and uses messages. So each
instance is made here, and its handle given to the Proactor loop.
"""

import asyncio
import ctypes
import math
import sys
import time
from collections.abc import Callable
from ctypes import wintypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

assert sys.platform == "win32"

DUPLEX_OVERLAPPED_FIRST, DUPLEX_OVERLAPPED = 0x40080003, 0x40000003  # PIPE_ACCESS_DUPLEX and FILE_FLAG_… of winbase.h
BYTES_OF_THIS_MACHINE = 0x8  # PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT are 0; PIPE_REJECT_REMOTE_CLIENTS
UNLIMITED = 255  # instances
BUFFER_BYTES = 64 * 1024
READ_WRITE, EXISTING = 0xC0000000, 3  # GENERIC_READ | GENERIC_WRITE; OPEN_EXISTING
# FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION: the server may not act as its client.
OVERLAPPED_UNTRUSTING = 0x40000000 | 0x00100000 | 0x00010000
PIPE_BUSY, BROKEN_PIPE, ABORTED = 231, 109, 995  # errors of winerror.h
BUSY_SECONDS = 0.01
TOKEN_QUERY, TOKEN_USER, SDDL_REVISION = 8, 1, 1


class WindowsPipes:
    def connect(self, name: str, seconds: float | None) -> "WindowsPipeEnd":
        import _winapi

        deadline = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            try:
                handle = _winapi.CreateFile(path_of(name), READ_WRITE, 0, 0, EXISTING, OVERLAPPED_UNTRUSTING, 0)
                break
            except OSError as error:
                if error.winerror != PIPE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(BUSY_SECONDS)
        end = WindowsPipeEnd(handle)
        end.settimeout(seconds)
        return end

    def listen(self, name: str) -> "WindowsPipeListener":
        return WindowsPipeListener(name)


class WindowsPipeEnd:
    """A client's end, whose operations may time out."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._milliseconds = 0xFFFFFFFF  # INFINITE
        self._running: Any = None

    def settimeout(self, value: float | None, /) -> None:
        self._milliseconds = 0xFFFFFFFF if value is None else int(value * 1000)

    def recv_into(self, buffer: "WriteableBuffer", /) -> int:
        import _winapi

        view = memoryview(buffer).cast("B")
        try:
            overlapped, _ = _winapi.ReadFile(self._handle, len(view), overlapped=True)
            count = self._finished(overlapped)
        except OSError as error:
            if error.winerror == BROKEN_PIPE:  # the server has closed it
                return 0
            raise
        content = overlapped.getbuffer()
        assert content is not None
        view[:count] = content[:count]
        return count

    def send(self, data: "ReadableBuffer", /) -> int:
        import _winapi

        overlapped, _ = _winapi.WriteFile(self._handle, bytes(data), overlapped=True)
        return self._finished(overlapped)

    def _finished(self, overlapped: Any) -> int:
        """Wait for an operation; its count of bytes. Raises TimeoutError."""
        import _winapi

        self._running = overlapped
        if _winapi.WaitForSingleObject(overlapped.event, self._milliseconds) != _winapi.WAIT_OBJECT_0:
            overlapped.cancel()
        try:
            count, error = overlapped.GetOverlappedResult(True)
        except OSError as failure:
            if failure.winerror == ABORTED:
                raise TimeoutError("timed out") from failure
            raise
        if error == ABORTED:
            raise TimeoutError("timed out")
        return int(count)

    def shutdown(self, how: int, /) -> None:
        if self._running is not None:
            self._running.cancel()

    def close(self) -> None:
        import _winapi

        handle, self._handle = self._handle, 0
        if handle:
            _winapi.CloseHandle(handle)


class WindowsPipeListener:
    """There is always an instance that clients can connect to."""

    def __init__(self, name: str) -> None:
        self._path = path_of(name)
        self._security = _SecurityAttributes()
        self._next = self._instance(DUPLEX_OVERLAPPED_FIRST)  # fails where another program has the name

    async def accept(self, new_protocol: Callable[[], asyncio.Protocol]) -> None:
        loop: Any = asyncio.get_running_loop()  # the Proactor's; these methods are what its own pipe server calls
        try:
            await loop._proactor.accept_pipe(self._next)
        except OSError:  # the client left before
            self._next.close()
            self._next = self._instance(DUPLEX_OVERLAPPED)
            raise
        connected, self._next = self._next, self._instance(DUPLEX_OVERLAPPED)
        loop._make_duplex_pipe_transport(connected, new_protocol(), extra={"pipe": connected})

    def close(self) -> None:
        self._next.close()

    def _instance(self, mode: int) -> Any:
        import _winapi
        from asyncio.windows_utils import PipeHandle

        handle = _winapi.CreateNamedPipe(
            self._path,
            mode,
            BYTES_OF_THIS_MACHINE,
            UNLIMITED,
            BUFFER_BYTES,
            BUFFER_BYTES,
            0,
            ctypes.addressof(self._security),
        )
        return PipeHandle(handle)


class _SecurityAttributes(ctypes.Structure):
    """SECURITY_ATTRIBUTES of winbase.h, with the access control list of the own user alone."""

    _fields_ = (("size", ctypes.c_uint32), ("descriptor", ctypes.c_void_p), ("inherits", ctypes.c_int))

    def __init__(self) -> None:
        user, descriptor = _own_sid(), ctypes.c_void_p()
        convert = ctypes.WinDLL("advapi32", use_last_error=True).ConvertStringSecurityDescriptorToSecurityDescriptorW
        convert.argtypes = [wintypes.LPCWSTR, wintypes.DWORD, wintypes.LPVOID, wintypes.LPVOID]
        if not convert(owner_only(user), SDDL_REVISION, ctypes.byref(descriptor), None):
            raise ctypes.WinError(ctypes.get_last_error())
        super().__init__(ctypes.sizeof(self), descriptor, 0)  # the descriptor lives as long as the process


def path_of(name: str) -> str:
    r"""
    >>> path_of("oprel")
    '\\\\.\\pipe\\oprel'
    """
    return rf"\\.\pipe\{name}"


def owner_only(user: str) -> str:
    """A security descriptor, in its own language, that lets in the user with that SID, and not over the network."""
    return f"O:{user}D:P(D;;GA;;;NU)(A;;GA;;;{user})"


def _own_sid() -> str:
    """The SID of this process's user, as text. Raises OSError."""
    kernel, api = ctypes.WinDLL("kernel32", use_last_error=True), ctypes.WinDLL("advapi32", use_last_error=True)
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    kernel.LocalFree.argtypes = kernel.CloseHandle.argtypes = [wintypes.HANDLE]
    api.OpenProcessToken.argtypes = [wintypes.HANDLE, wintypes.DWORD, wintypes.LPVOID]
    api.GetTokenInformation.argtypes = [wintypes.HANDLE, ctypes.c_int, wintypes.LPVOID, wintypes.DWORD, wintypes.LPVOID]
    api.ConvertSidToStringSidW.argtypes = [wintypes.LPVOID, wintypes.LPVOID]
    token, size, text = wintypes.HANDLE(), wintypes.DWORD(), wintypes.LPWSTR()
    if not api.OpenProcessToken(kernel.GetCurrentProcess(), TOKEN_QUERY, ctypes.byref(token)):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        user = ctypes.create_string_buffer(256)  # a TOKEN_USER begins with the address of its SID
        if not api.GetTokenInformation(token, TOKEN_USER, user, len(user), ctypes.byref(size)):
            raise ctypes.WinError(ctypes.get_last_error())
        sid = ctypes.c_void_p.from_buffer(user)
        if not api.ConvertSidToStringSidW(sid, ctypes.byref(text)):
            raise ctypes.WinError(ctypes.get_last_error())
        return str(text.value)
    finally:
        kernel.CloseHandle(token)
