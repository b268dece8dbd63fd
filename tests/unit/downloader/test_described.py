"""What answers say of a file."""

import base64

import httpx
import pytest

from oprel.downloader.network.described import etag_of, is_page, sha256_of, size_of

DIGEST = "0123456789abcdef" * 4
RFC_9530 = f"sha-256=:{base64.b64encode(bytes.fromhex(DIGEST)).decode()}:"


def answer(headers: dict[str, str], status: int = 200) -> httpx.Response:
    return httpx.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Linked_Etag": f'"{DIGEST}"'},
        {"X_Checksum_Sha256": DIGEST.upper()},
        {"Repr_Digest": f"md5=:AAAA:, {RFC_9530}"},
        {"X_Linked_Etag": '"an-etag"', "X_Checksum_Sha256": DIGEST},
    ],
)
def test_each_way_to_tell_a_digest_is_understood(headers: dict[str, str]) -> None:
    final = answer({})
    final.history = [answer(headers, 302)]
    assert sha256_of(answer(headers)) == sha256_of(final) == DIGEST


@pytest.mark.parametrize("headers", [{}, {"ETag": f'"{DIGEST}"'}, {"X_Checksum_Sha256": DIGEST[:40]}])
def test_what_is_no_digest_is_none(headers: dict[str, str]) -> None:
    assert sha256_of(answer(headers)) == ""


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ({"Content_Range": "bytes 0-0/77", "Content_Length": "1"}, 77),
        ({"Content_Length": "12"}, 12),
        ({"X_Linked_Size": "99", "Content_Length": "3"}, 99),
        ({"Content_Length": "-1"}, None),
        ({}, None),
    ],
)
def test_the_size_is_that_of_the_whole_file(headers: dict[str, str], size: int | None) -> None:
    assert size_of(answer(headers, 206)) == size


def test_an_etag_is_that_of_the_linked_file() -> None:
    final = answer({"ETag": 'W/"of the node"'})
    assert etag_of(final) == "of the node"
    final.history = [answer({"X_Linked_Etag": '"of the file"'}, 302)]
    assert etag_of(final) == "of the file"


def test_a_page_is_known_by_its_type() -> None:
    assert is_page(answer({"Content_Type": "Text/HTML; charset=utf-8"}))
    assert not is_page(answer({"Content_Type": "application/octet-stream"}))
    assert not is_page(answer({"Content_Type": "text/html"}, 404))
