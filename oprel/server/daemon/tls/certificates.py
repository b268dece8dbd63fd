"""The certificate of the daemon's TLS port: given by files, or made by the daemon. Renewed files count at once."""

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.core.state.certificate_files import fingerprint_of
from oprel.server.api.connections.tls import TlsConnection

logger = logging.getLogger(__name__)

INTERVAL = 2.0  # s between two looks at the files


class _FileState(NamedTuple):
    """Of the file that a path leads to, also by links: certbot renews by changing those."""

    device: int
    inode: int
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "_FileState":
        status = os.stat(path)
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Certificates:
    """Owner of the TLS context that new connections get. Connections that exist keep theirs."""

    def __init__(self, certificate: Path, key: Path, *, is_own: bool = False) -> None:
        """`is_own`: made by the daemon. Raises ConfigError if the files cannot be used."""
        self._paths, self._is_own = (certificate, key), is_own
        self._state = self._file_states()
        self._fault = ""
        try:
            self.context = server_context(certificate, key)
        except (OSError, ValueError) as error:
            step = "Check tls_certificate and tls_key: two files in PEM format that belong together."
            raise ConfigError(f"cannot use the certificate {certificate}: {reason(error)}", step) from error

    @classmethod
    def of(cls, config: Config) -> "Certificates":
        """A self-signed one is made at the first start. Raises ConfigError."""
        if config.tls_certificate and config.tls_self_signed == "on":
            raise ConfigError("tls_certificate and tls_self_signed exclude each other", "Choose one of them.")
        if config.tls_certificate:
            certificate = Path(config.tls_certificate).expanduser()
            return cls(certificate, Path(config.tls_key).expanduser() if config.tls_key else certificate)
        return cls._self_signed(config)

    @classmethod
    def _self_signed(cls, config: Config) -> "Certificates":
        certificate, key = config.own_certificate, config.own_key
        with contextlib.suppress(ConfigError):
            return cls(certificate, key, is_own=True)
        from oprel.server.daemon.tls.self_signed import make  # imported late: it takes a while, and is rarely needed

        if certificate.exists():
            logger.warning("%s and its key cannot be used: a new pair is made, with another fingerprint", certificate)
        try:
            make(certificate, key)
        except OSError as error:
            raise ConfigError(f"cannot write {certificate}: {error.strerror}") from error
        return cls(certificate, key, is_own=True)

    def secured(self, http: asyncio.Protocol) -> asyncio.Protocol:
        """A connection's TLS in front of its HTTP."""
        return TlsConnection(http, self.context)

    def pinned(self, url: str) -> str:
        """The URL as our clients need it: no authority vouches for a certificate that the daemon made itself."""
        return f"{url}#sha256={fingerprint_of(self._paths[0])}" if self._is_own else url

    def log(self) -> None:
        if self._is_own:
            address = self.pinned("https://HOST:PORT")
            logger.info("HTTPS has oprel's own certificate %s: OPREL_HOST=%s", self._paths[0], address)
        else:
            logger.info("HTTPS has the certificate %s", self._paths[0])

    def refresh(self) -> None:
        """Use the files as they are now, if they changed; what cannot be used changes nothing. Blocks to read them."""
        state = self._file_states()
        if state == self._state and not self._fault:
            return
        try:
            self.context = server_context(*self._paths)
        except (OSError, ValueError) as error:  # half of a new pair, or none at the moment
            fault = reason(error)
            if fault != self._fault:
                logger.warning("the old certificate stays in use: %s: %s", self._paths[0], fault)
            self._fault = fault
            return
        self._state, self._fault = state, ""
        logger.info("new connections get the new certificate in %s", self._paths[0])

    def _file_states(self) -> tuple[_FileState, ...]:
        with contextlib.suppress(OSError):
            return tuple(map(_FileState.of, self._paths))
        return ()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Inside the block the files are looked at every few seconds."""
        keeping = asyncio.create_task(self._keep(), name="certificates")
        try:
            yield
        finally:
            keeping.cancel()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await asyncio.to_thread(self.refresh)


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or later, with that certificate. Raises OSError (SSLError is one) and ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could make the daemon compute without end
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key, password=_refuse_password)
    return context


def _refuse_password() -> str:
    """OpenSSL would ask for it at the daemon's terminal."""
    raise ValueError("the key is encrypted: it must be readable without a password")


def reason(error: OSError | ValueError) -> str:
    """
    >>> reason(FileNotFoundError(2, "No such file or directory"))
    'No such file or directory'
    """
    if isinstance(error, ssl.SSLError):
        mismatch = error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")
        return "the key is of another certificate" if mismatch else "it is damaged, or no PEM file"
    return (error.strerror if isinstance(error, OSError) else "") or str(error)
