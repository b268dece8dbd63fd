"""Why a server could not be reached, in words. Pure."""

import re
import socket

_UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: (?P<why>.*?)(?: \(_ssl.*)?$")


def reason(error: Exception) -> str:
    """Why a server could not be reached, in words."""
    if is_unknown_host(error):
        return "the host name is unknown"
    first = str(error).partition("\n")[0]  # further lines are httpx's hints for developers
    if untrusted := _UNTRUSTED.search(first):
        return (
            f"its certificate is not trusted ({untrusted['why']}). If a proxy of your network opens TLS, set "
            "SSL_CERT_FILE to the file with that proxy's CA, then `oprel restart`"
        )
    return re.sub(r"^\[Errno -?\d+\] ", "", first) or type(error).__name__


def is_unknown_host(error: BaseException) -> bool:
    """True if a host name could not be resolved: it is wrong, or there is no network."""
    cause = error.__cause__ or error.__context__
    return isinstance(error, socket.gaierror) or (cause is not None and is_unknown_host(cause))
