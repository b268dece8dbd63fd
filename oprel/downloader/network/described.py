"""What the answers to a request say of a file: its size, its digest, and whether it is the file at all. Pure."""

import base64
import re
from collections.abc import Iterator

import httpx

_HEXADECIMAL = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")
LOGIN_PAGE = "Networks with a login page answer in its place until you log in."


def answers(response: httpx.Response) -> Iterator[httpx.Response]:
    """The answer and the redirects that led to it, in order."""
    yield from response.history
    yield response


def sha256_of(response: httpx.Response) -> str:
    """The file's digest as a server sends it; "" without one.

    Hugging Face has it in `X-Linked-Etag` before it redirects, Artifactory in `X-Checksum-Sha256`, and RFC 9530 defines
    `Repr-Digest`.
    """
    for answer in answers(response):
        for name in ("x-linked-etag", "x-checksum-sha256"):
            digest = unquoted(answer.headers.get(name, "")).lower()
            if _HEXADECIMAL.fullmatch(digest):
                return digest
        if match := _DIGEST.search(answer.headers.get("repr-digest", "")):
            return base64.b64decode(match[1]).hex()
    return ""


def etag_of(response: httpx.Response) -> str:
    """The ETag without quotes, of the file that was linked if a hub redirects; "" without one."""
    linked = (answer.headers["x-linked-etag"] for answer in answers(response) if "x-linked-etag" in answer.headers)
    return unquoted(next(linked, response.headers.get("etag", "")))


def size_of(response: httpx.Response) -> int | None:
    """The size of the whole file in bytes; None if the answers do not state it."""
    total = _TOTAL.fullmatch(response.headers.get("content-range", ""))
    linked = (answer.headers["x-linked-size"] for answer in answers(response) if "x-linked-size" in answer.headers)
    size = next(linked, total[1] if total else response.headers.get("content-length", ""))
    return int(size) if size.isascii() and size.isdigit() else None


def is_page(response: httpx.Response) -> bool:
    """Whether a web page was sent, such as the login page of a network."""
    return response.is_success and response.headers.get("content-type", "").lower().startswith("text/html")


def unquoted(etag: str) -> str:
    return etag.strip().removeprefix("W/").strip('"')
