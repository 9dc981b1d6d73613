"""A process that speaks S3 on loopback, and the requests it was sent; used by tests too."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

REQUEST = re.compile(r'"(GET|PUT|HEAD|POST|DELETE) (\S+) HTTP/1\.1" (\d{3})')
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
START_S = 30.0


@dataclass(slots=True)
class Server:
    """A running server, whose log says what it was asked."""

    url: str
    log: Path
    _told: int = 0

    @property
    def environment(self) -> Mapping[str, str]:
        """What programs need in their environment to reach it."""
        return {
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def new_requests(self) -> list[tuple[str, str]]:
        """Return method and path, with the query, of each request since the last time; LIST for a listing."""
        urlopen(self.url).close()  # requests are logged in their order
        text = COLOURS.sub("", self.log.read_text(encoding="utf-8", errors="replace"))
        found = [(method, path) for method, path, _ in REQUEST.findall(text)]
        new, self._told = found[self._told : -1], len(found)
        return [("LIST" if "list-type=" in path else method, path) for method, path in new]


@contextmanager
def s3_server(log: Path) -> Generator[Server]:
    """Run moto's server as long as the context lasts; `log` is written."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with log.open("wb") as written, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=written) as process:
        try:
            end = time.monotonic() + START_S
            while not _answers(url):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the S3 server did not start: {log.read_text()}")
                time.sleep(0.1)
            yield Server(url, log)
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        urlopen(url).close()
    except URLError:
        return False
    return True
