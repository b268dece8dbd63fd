"""What a request may take before it is understood: bytes, time, and connections."""

import functools
import sys

HEAD_BYTES = 64 * 1024  # of a request line or its headers
HEADERS = 200
PIPELINED = 100  # requests of one connection that are not answered yet
HEAD_SECONDS = 10.0  # from the connection, or a request's first byte, to the end of its headers
PART_SECONDS = 30.0  # between two parts of a body
BODY_SECONDS = 300.0  # for a whole body; uploads of model files may take longer
BODY_BYTES = 32 * 2**20  # of a body, but of uploads; the setting `max_body_mb`
ALL_BODIES_BYTES = 64 * 2**20  # of the large bodies of all requests together, or twice `max_body_mb`
SMALL_BYTES = 64 * 1024  # of a body that is not worth counting
INTAKE_BYTES = 64 * 2**20  # a second, of all requests that are not small, but of uploads
BUDGET_SECONDS = 30.0  # for which a large body waits for others
UNPACKED_BYTES, UNPACKED_TIMES = 64 * 2**20, 20  # of a body that was compressed, and its ratio to the packed one
QUICK_BYTES = 2**20  # of a body that Python's own reader may read
DEPTH = 64  # of lists and objects in each other
ITEMS = 200_000  # in all lists and objects
MESSAGES = 10_000
TOOLS = 512
LAST_READ_SECONDS = 1.0  # before an idle connection is closed
REFUSED_BYTES = 128 * 2**20  # that are still read after a refusal, so that the client sends all and reads it
REFUSED_SECONDS = 30.0  # for a client to read why its request was refused before it is sent whole
ABORT = "oprel.abort"  # the key, in a request's ASGI scope, of what ends its connection at once
UPLOADS = "/api/blobs/"
MOST_FILES = 65_536  # open files: more would take memory of the kernel for no use
OWN_FILES = 256  # for models, engines, downloads and logs


def raise_file_limit() -> None:
    """Let this process open as many files as it may: each connection is one."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _files(soft) < _files(hard):
        resource.setrlimit(resource.RLIMIT_NOFILE, (_files(hard), hard))
    most_connections.cache_clear()


@functools.cache
def most_connections() -> int:
    """How many clients may be connected, by the limit of open files."""
    if sys.platform == "win32":
        return MOST_FILES
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _files(soft)
    return max(files - OWN_FILES, files // 2)


def _files(limit: int) -> int:
    """A limit of open files as a number: the kernel's "no limit" is negative."""
    return MOST_FILES if limit < 0 else min(limit, MOST_FILES)
