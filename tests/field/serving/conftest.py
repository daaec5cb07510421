"""A started server in its own process."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

# Python itself reports whatever the server tries to reach beyond this computer.
SERVER = """
import sys

def watch(event, arguments):
    if event == "socket.getaddrinfo" and arguments[0] not in (None, "127.0.0.1", "localhost"):
        print("reached out to", arguments[0], file=sys.stderr)
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        print("reached out to", arguments[1], file=sys.stderr)

sys.addaudithook(watch)
from fpcn_lightning.field.command import main
{before}
code = main()
if "torch" in sys.modules:
    print("torch was imported", file=sys.stderr)
raise SystemExit(code)
"""


class Server(NamedTuple):
    """A started server."""

    address: str
    process: int  # its id


@contextmanager
def started(
    bundle: Path, temporary: Path, *options: str, before: str = "", stop: signal.Signals = signal.SIGTERM
) -> Iterator[str]:
    """The address of a server; see `started_server`."""
    with started_server(bundle, temporary, *options, before=before, stop=stop) as server:
        yield server.address


@contextmanager
def started_server(
    bundle: Path, temporary: Path, *options: str, before: str = "", stop: signal.Signals = signal.SIGTERM
) -> Iterator[Server]:
    """A server in its own process, which must end without an error or a message.

    Args:
        bundle: what it serves.
        temporary: its folder for temporary files, which is also its working folder and must stay empty.
        options: of the command line.
        before: Python to run in it first.
        stop: how it is ended.
    """
    temporary.mkdir(exist_ok=True)
    before_it = set(temporary.iterdir())
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            SERVER.format(before=before),
            "serve",
            str(bundle),
            "--port=0",
            "--no-browser",
            *options,
        ],
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(Path.cwd())},
        cwd=temporary,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout
            found = re.match(r"The page is at (\S+)/ ", process.stdout.readline())
            assert found, process.stderr and process.stderr.read()
            yield Server(found[1], process.pid)
        finally:
            process.send_signal(stop)
            _, errors = process.communicate(timeout=60)
        if stop != signal.SIGKILL:
            assert (process.returncode, errors) == (0, "")
            assert set(temporary.iterdir()) <= before_it
