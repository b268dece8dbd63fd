"""The files of the HTTPS port's certificate: made, renewed, damaged."""

import hashlib
import logging
import os
import socket
import ssl
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from oprel.cli.checks import home_checks
from oprel.cli.checks.home_checks import home_faults
from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.core.state.certificate_files import fingerprint_of
from oprel.server.daemon.tls.certificates import Certificates
from oprel.server.daemon.tls.self_signed import make


class Pair:
    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        make(self.certificate, self.key)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.certificate)


def shown(certificates: Certificates) -> str:
    """The fingerprint of the certificate that a new connection gets."""
    incoming, outgoing, back = ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificates.context.wrap_bio(incoming, outgoing, server_side=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_bio(back, incoming)
    for end in (client, server, client):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            back.write(outgoing.read())
    return hashlib.sha256(client.getpeercert(binary_form=True) or b"").hexdigest()


@pytest.fixture
def given(tmp_path: Path) -> Pair:
    return Pair(tmp_path / "given")


def test_renewed_files_are_used(given: Pair, tmp_path: Path) -> None:
    certificates = Certificates(given.certificate, given.key)
    assert shown(certificates) == given.fingerprint
    old = certificates.context
    certificates.refresh()
    assert certificates.context is old  # nothing changed
    renewed = Pair(tmp_path / "renewed")
    renewed.certificate.replace(given.certificate)
    renewed.key.replace(given.key)
    certificates.refresh()
    assert shown(certificates) == given.fingerprint == fingerprint_of(given.certificate)


def test_half_of_a_new_pair_changes_nothing_and_warns_once(
    given: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates, before = Certificates(given.certificate, given.key), given.fingerprint
    renewed = Pair(tmp_path / "renewed")
    given.certificate.write_bytes(renewed.certificate.read_bytes())
    with caplog.at_level(logging.INFO):
        certificates.refresh()
        certificates.refresh()
        assert shown(certificates) == before
        given.key.write_bytes(renewed.key.read_bytes())
        certificates.refresh()
    assert shown(certificates) == renewed.fingerprint
    warning, news = caplog.messages
    assert warning == f"the old certificate stays in use: {given.certificate}: the key is of another certificate"
    assert news == f"new connections get the new certificate in {given.certificate}"


@pytest.mark.parametrize("content", [b"", b"half", b"-----BEGIN CERTIFICATE-----\nMIIB", None])
def test_files_that_are_no_certificate_change_nothing(given: Pair, content: bytes | None) -> None:
    certificates, before, whole = Certificates(given.certificate, given.key), given.fingerprint, b""
    whole = given.certificate.read_bytes()
    if content is None:
        given.certificate.unlink()
    else:
        given.certificate.write_bytes(content)
    certificates.refresh()
    assert shown(certificates) == before
    given.certificate.write_bytes(whole)
    certificates.refresh()
    assert shown(certificates) == before


def test_links_that_lead_to_other_files_are_noticed(tmp_path: Path) -> None:
    """As certbot does it: live/NAME/fullchain.pem -> ../../archive/NAME/fullchain1.pem."""
    live = tmp_path / "live"
    live.mkdir()
    pairs = [Pair(tmp_path / "archive" / number) for number in "12"]
    for pair in pairs:
        for file in (pair.certificate, pair.key):
            (live / "new").symlink_to(os.path.relpath(file, live))
            (live / "new").rename(live / file.name)
        if pair is pairs[0]:
            certificates = Certificates(live / "certificate.pem", live / "key.pem")
        certificates.refresh()
        assert shown(certificates) == pair.fingerprint


def test_a_daemon_makes_its_certificate_once_for_its_user_alone(tmp_path: Path) -> None:
    config = Config(home=str(tmp_path), tls_self_signed="on")
    Certificates.of(config)
    certificate = config.own_certificate
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in certificate.parent.iterdir()}
    assert files == {"certificate.pem": 0o600, "key.pem": 0o600}
    again = Certificates.of(config)
    assert again.pinned("https://box:1") == f"https://box:1#sha256={fingerprint_of(certificate)}"
    names = ssl._ssl._test_decode_cert(str(certificate))["subjectAltName"]  # type: ignore[attr-defined]
    assert {("DNS", "localhost"), ("DNS", socket.gethostname().lower()), ("IP Address", "127.0.0.1")} <= {*names}


@pytest.mark.parametrize("name", ["certificate.pem", "key.pem"])
def test_a_damaged_pair_of_its_own_is_made_anew(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    config = Config(home=str(tmp_path), tls_self_signed="on")
    Certificates.of(config)
    before = fingerprint_of(config.own_certificate)
    config.own_certificate.with_name(name).write_bytes(b"")
    assert shown(Certificates.of(config)) == fingerprint_of(config.own_certificate) != before
    assert "a new pair is made, with another fingerprint" in caplog.text


def test_one_file_may_hold_both(given: Pair, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(given.key.read_bytes() + given.certificate.read_bytes())
    certificates = Certificates.of(Config(home=str(tmp_path), tls_certificate=str(both)))
    assert shown(certificates) == given.fingerprint
    assert certificates.pinned("https://box:1") == "https://box:1"  # an authority's is renewed: no fingerprint holds


def test_what_cannot_be_used_stops_the_start_with_a_sentence(given: Pair, tmp_path: Path) -> None:
    private = serialization.load_pem_private_key(given.key.read_bytes(), None)
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    for key, why in (
        (encrypted, "the key is encrypted"),
        (tmp_path / "absent", "No such file"),
        (Pair(tmp_path / "other").key, "the key is of another certificate"),
        (given.certificate, "it is damaged, or no PEM file"),
    ):
        with pytest.raises(ConfigError, match=why):
            Certificates(given.certificate, key)
    with pytest.raises(ConfigError, match="exclude each other"):
        Certificates.of(Config(home=str(tmp_path), tls_certificate="x", tls_self_signed="on"))


def test_doctor_warns_of_a_certificate_that_ends(given: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(home=str(tmp_path / "home"), tls_certificate=str(given.certificate))
    assert list(home_faults(config)) == []
    monkeypatch.setattr(home_checks, "DAYS_BEFORE_END", 365 * 11)
    (fault,) = home_faults(config)
    assert fault.text.startswith(f"{given.certificate} expires on ")
    given.certificate.write_bytes(b"")
    (fault,) = home_faults(config)
    assert fault.text.startswith(f"{given.certificate} cannot be read")
    own = Config(home=str(tmp_path / "home"), tls_self_signed="on")
    assert list(home_faults(own)) == []  # none was made yet
