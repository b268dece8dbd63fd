"""Run a Python program that serves HTTP, and have it listen on a Unix socket instead of a port.

    PYTHON on_socket.py SOCKET PROGRAM ARGUMENTS...

For engines that only listen on ports, which every program and web page of the machine can reach, mostly without a key.
The engine's own Python runs this file, without oprel: it imports only the standard library and the engine's uvicorn.
It patches the two servers that engines use, uvicorn and http.server, where they bind.
"""

import http.server
import os
import runpy
import socket
import sys


def main() -> None:
    path, program, *arguments = sys.argv[1:]
    sys.argv = [program, *arguments]
    sys.path[0] = os.path.dirname(
        os.path.abspath(program)
    )  # instead of this file's folder, as if Python ran the program directly
    patch_http_server(path)
    patch_uvicorn(path)
    runpy.run_path(program, run_name="__main__")


def patch_http_server(path: str) -> None:
    def server_bind(self: http.server.HTTPServer) -> None:
        if sys.platform == "win32":
            raise OSError("there are no Unix sockets on Windows")
        self.socket.close()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.server_name, self.server_port = "localhost", 0

    http.server.HTTPServer.server_bind = server_bind  # type: ignore[assignment,method-assign]
    # The client of a Unix socket has no address.
    http.server.BaseHTTPRequestHandler.address_string = lambda self: "local"  # type: ignore[method-assign]


def patch_uvicorn(path: str) -> None:
    try:
        from uvicorn import Config
    except ImportError:  # this engine does not use it
        return
    init = Config.__init__

    def on_socket(self: Config, *positional: object, **named: object) -> None:
        init(self, *positional, **{**named, "uds": path, "fd": None})  # type: ignore[arg-type]

    Config.__init__ = on_socket  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
