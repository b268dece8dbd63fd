"""Run a Python program that serves HTTP, and have it listen on a Unix socket instead of a port.

    PYTHON on_socket.py SOCKET PROGRAM ARGUMENTS...

For engines that know only ports, which every program and web page of the machine could reach, most of them without a
key. It is run by the engine's own Python, where there is no oprel: it imports the standard library only, and the
uvicorn that it finds there. uvicorn and http.server, which is what they serve with, are patched where they bind.
"""

import http.server
import os
import runpy
import socket
import sys


def main() -> None:
    path, program, *arguments = sys.argv[1:]
    sys.argv = [program, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(program))  # in place of this file's folder, as if it ran by itself
    patch_http_server(path)
    patch_uvicorn(path)
    runpy.run_path(program, run_name="__main__")


def patch_http_server(path: str) -> None:
    def server_bind(self: http.server.HTTPServer) -> None:
        self.socket.close()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.server_name, self.server_port = "localhost", 0

    http.server.HTTPServer.server_bind = server_bind  # type: ignore[assignment,method-assign]
    # There is no address to tell: that of a Unix socket's client is empty.
    http.server.BaseHTTPRequestHandler.address_string = lambda self: "local"  # type: ignore[method-assign]


def patch_uvicorn(path: str) -> None:
    try:
        from uvicorn import Config
    except ImportError:  # it serves without
        return
    init = Config.__init__

    def on_socket(self: Config, *positional: object, **named: object) -> None:
        init(self, *positional, **{**named, "uds": path, "fd": None})  # type: ignore[arg-type]

    Config.__init__ = on_socket  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
