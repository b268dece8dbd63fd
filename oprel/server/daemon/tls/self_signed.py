"""A certificate that the daemon signs itself: clients know it by its fingerprint, not by an authority."""

import datetime
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from oprel.utils.files import make_private, write_atomically

YEARS = 10  # after which those who pinned it need its successor's fingerprint
SKEW = datetime.timedelta(days=1)  # that a client's clock may be behind
LONGEST_NAME = 64  # characters of a common name, RFC 5280 appendix A.1


def make(certificate: Path, key: Path) -> None:
    """Write a new pair for this machine's names and addresses, for this user alone. Raises OSError."""
    private = ec.generate_private_key(ec.SECP256R1())
    make_private(certificate.parent)
    # The key first: a certificate without its key would be of no use.
    write_atomically(
        key,
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    write_atomically(certificate, _signed(private, list(_names())).public_bytes(serialization.Encoding.PEM))


def _signed(key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName]) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"oprel on {socket.gethostname()}"[:LONGEST_NAME])])
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    usage = {name: name == "digital_signature" for name in _USAGES}
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def _names() -> Iterator[x509.GeneralName]:
    """What clients may call this machine now; one that they pin by its fingerprint may get other addresses later."""
    host = socket.gethostname().lower()
    for name in dict.fromkeys(("localhost", host, f"{host.partition('.')[0]}.local", socket.getfqdn().lower())):
        if name and name.isascii():
            yield x509.DNSName(name)
    texts = [each.address for addresses in psutil.net_if_addrs().values() for each in addresses]
    for text in dict.fromkeys(("127.0.0.1", "::1", *texts)):
        try:
            yield x509.IPAddress(ipaddress.ip_address(text.partition("%")[0]))
        except ValueError:  # the address of a network card
            continue
