"""Which certificates of daemons clients trust: authorities, or one certificate by its fingerprint."""

import hashlib
import ssl
from pathlib import Path

from oprel.client.base import Address
from oprel.core.exceptions import ConnectError

PROBE_SECONDS = 5.0  # to get a certificate that was not trusted


def tls_context(address: Address, own: Path) -> ssl.SSLContext:
    """What httpx and `http.client` need for `address`. Takes 25 ms to read the authorities.

    With a fingerprint only that certificate counts, whatever its names. Else the authorities of the system or of
    SSL_CERT_FILE and SSL_CERT_DIR, those of certifi, and this machine's daemon, whose certificate is the file `own`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if address.fingerprint:
        _pin(context, address.fingerprint)
        return context
    import certifi

    context.load_default_certs()
    context.load_verify_locations(certifi.where())
    if own.is_file():
        context.load_verify_locations(own)
    return context


class OtherCertificateError(ssl.SSLCertVerificationError):
    """The certificate has another fingerprint than the address names."""


def _pin(context: ssl.SSLContext, fingerprint: str) -> None:
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def check(certificate: bytes | None) -> None:
        if hashlib.sha256(certificate or b"").hexdigest() != fingerprint:
            raise OtherCertificateError("the certificate has another fingerprint")

    class PinnedSocket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            check(self.getpeercert(binary_form=True))

    class PinnedObject(ssl.SSLObject):  # for event loops
        def do_handshake(self) -> None:
            super().do_handshake()
            check(self.getpeercert(binary_form=True))

    context.sslsocket_class, context.sslobject_class = PinnedSocket, PinnedObject


def certificate_error(address: Address, error: BaseException) -> ConnectError | None:
    """What a failed connection says of certificates; None if it failed for another reason."""
    if (cause := _tls_error(error)) is None:
        return None
    if isinstance(cause, OtherCertificateError):
        return ConnectError(
            f"{address} has another certificate than the one that its address names{_fingerprint_at(address)}",
            "Compare it with the log of the daemon there: `oprel logs`. If they differ, somebody is between.",
            "If it is that one's, write it into the address.",
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ConnectError(
            f"the certificate of {address} is not trusted ({cause.verify_message}){_fingerprint_at(address)}",
            "If the daemon made it itself, compare the fingerprint with its log (`oprel logs` there), and append it to "
            "the address: https://HOST:PORT#sha256=FINGERPRINT.",
            "If it is from an authority of yours, name that one's certificate by SSL_CERT_FILE.",
        )
    if cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return ConnectError(f"{address} does not speak HTTPS", "Write http:// in place of https://.")
    return ConnectError(f"the HTTPS connection to {address} failed: {cause.reason or cause}", "Check OPREL_HOST.")


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The error of TLS that another one was raised for."""
    while error:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _fingerprint_at(address: Address) -> str:
    """What a message says of the certificate that a daemon shows; "" where it cannot be had."""
    from urllib.parse import urlsplit

    server = urlsplit(address.target)
    try:
        shown = ssl.get_server_certificate((server.hostname or "", server.port or 443), timeout=PROBE_SECONDS)
    except (OSError, ValueError):
        return ""
    return f"; it has the fingerprint sha256={hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown)).hexdigest()}"
