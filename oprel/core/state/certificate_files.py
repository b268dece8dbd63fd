"""What a certificate in a file is known by, and how long it is valid."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


def fingerprint_of(certificate: Path) -> str:
    """SHA-256 of the first certificate in a PEM file, in hexadecimal. Raises OSError and ValueError."""
    import hashlib  # imported late: few commands need them
    import ssl

    text = certificate.read_text(encoding="ascii", errors="replace")
    start = text.find(ssl.PEM_HEADER)
    block = text[start : text.find(ssl.PEM_FOOTER, start) + len(ssl.PEM_FOOTER)] if start >= 0 else ""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(block)).hexdigest()


def valid_until(certificate: Path) -> "datetime":
    """The end of the first certificate in a PEM file, in UTC. Raises OSError and ValueError."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
