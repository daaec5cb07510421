"""`fpcn serve`: a page on this computer that classifies the photographs dropped on it. It needs no internet."""

import ipaddress
import os
import signal
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.model import BundleModel

_SHUTDOWN_SECONDS = 2  # that an open page may delay the end


def serve(
    bundle_folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    open_browser: bool = True,
    max_megabytes: int = 20,
    file: str | None = None,
) -> None:
    """Serve the page until the process is interrupted or terminated; must be called from the main thread.

    Args:
        bundle_folder: the bundle.
        host: the address to listen on; any other than loopback allows other computers to connect, without a password.
        port: 0 chooses a free one.
        open_browser: open the page in a browser.
        max_megabytes: of one picture's file.
        file: name of the model file; None is the bundle's default.

    Raises:
        UserError: Gradio is missing, the bundle cannot be used, or the address cannot be listened on.
    """
    if find_spec("gradio") is None:
        raise UserError("The page needs Gradio: pip install 'fpcn-lightning[serve]'.")
    model = BundleModel(read_bundle(bundle_folder), file)
    # A folder of this user alone; Gradio's own is shared by all users of the computer.
    with _listener(host, port) as listener, TemporaryDirectory(prefix="fpcn-serve-") as uploads:
        os.environ.update(GRADIO_TEMP_DIR=uploads, GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
        import uvicorn

        from fpcn_lightning.field.serve_page import make_app

        app = make_app(model, max_megabytes)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_SHUTDOWN_SECONDS)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the uploads would remain after the process ends
        _announce(host, listener.getsockname()[1], open_browser)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run([listener])


def _listener(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"The page cannot listen on --host={host} --port={port} ({reason}): choose another one, --port=0 chooses a "
            "free one."
        ) from error


def _announce(host: str, port: int, open_browser: bool) -> None:
    if not _is_loopback(host):
        print(f"Warning: --host={host} allows other computers to open the page, without a password.", file=sys.stderr)
    address = f"http://{_reached_as(host)}:{port}/"
    print(f"The page is at {address} (Ctrl-C ends it).", flush=True)
    if open_browser:  # in a thread, since browsers in a terminal block their caller
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reached_as(host: str) -> str:
    """The address for a browser on this computer."""
    if host in ("", "0.0.0.0", "::"):  # all addresses of this computer
        return "localhost"
    return f"[{host}]" if ":" in host else host
