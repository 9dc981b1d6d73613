"""Runs the service on an address until a signal ends it."""

import signal
import socket
import sys

import uvicorn
from fastapi import FastAPI

from faceindex.errors import ConfigError

GRACE_S = 10
"""How long requests that are being answered may take to end."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that takes calls on an address.

    Raises:
        ConfigError: it is taken, or none of this machine's.
    """
    listening = None
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()  # whoever reads the address may call at once
    except socket.gaierror as error:
        raise ConfigError(f"{host} is no address of this machine: {error.strerror}; give one with --host") from error
    except OSError as error:
        if listening is not None:
            listening.close()
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror}; give another with --port, 0 for any"
        ) from error
    return listening


def address_of(listening: socket.socket) -> str:
    """Return the URL of a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def run(app: FastAPI, listening: socket.socket) -> None:
    """Serve until SIGTERM, which ends it well, or Ctrl-C."""
    # uvicorn ends what it is doing, then raises the signal again for whoever handled it before.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_S
    )
    uvicorn.Server(config).run(sockets=[listening])
