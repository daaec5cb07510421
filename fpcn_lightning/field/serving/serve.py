"""`fpcn serve`: a page on this computer that classifies the photographs dropped on it. It needs no internet."""

import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fpcn_lightning.data.images import ImageReader
from fpcn_lightning.errors import MissingPackage, UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.model import BundleModel

_MAX_BATCH_SECONDS = 60  # of the views of one photograph, since the others wait meanwhile
_SHUTDOWN_SECONDS = 2  # that an open page may delay the end
_MAX_CONNECTIONS = 500
_MAX_SOCKET_MESSAGE = 2**20  # bytes from a page; photographs do not come this way


def serve(
    bundle_folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    open_browser: bool = True,
    max_megabytes: int = 20,
    file: str | None = None,
    api: bool = False,
    allowed_hosts: Sequence[str] = (),
) -> None:
    """Serve the page until the process is interrupted or terminated; must be called from the main thread.

    Args:
        bundle_folder: the bundle.
        host: the address to listen on; any other than loopback allows other computers to connect, without a password.
        port: 0 chooses a free one.
        open_browser: open the page in a browser.
        max_megabytes: of one picture's file.
        file: name of the model file; None is the bundle's default.
        api: whether to offer `POST /predict` as well.
        allowed_hosts: names that requests may be addressed to, besides those of `host`; that of a reverse proxy.

    Raises:
        UserError: NiceGUI is missing, the bundle cannot be used, or the address cannot be listened on.
    """
    MissingPackage.check("fpcn serve", "serve")
    model = BundleModel(read_bundle(bundle_folder), file, max_seconds=_MAX_BATCH_SECONDS)
    model.try_out()
    with _listener(host, port) as listener:
        import uvicorn

        from fpcn_lightning.field.serving.app import make_app
        from fpcn_lightning.field.serving.guard import AllowedHosts
        from fpcn_lightning.field.serving.pictures import LIMITS
        from fpcn_lightning.field.serving.uploads import upload_folder

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the uploads would remain after the process ends
        with suppress(KeyboardInterrupt), upload_folder() as uploads, ImageReader(LIMITS) as reader:
            app = make_app(model, reader, uploads, AllowedHosts.of(host, allowed_hosts), max_megabytes, api=api)
            config = uvicorn.Config(
                app,
                log_level="warning",
                server_header=False,
                limit_concurrency=_MAX_CONNECTIONS,
                ws_max_size=_MAX_SOCKET_MESSAGE,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )

            class Server(uvicorn.Server):
                """Announces the page once it can be opened, and Ctrl-C ends the server in the regular way."""

                async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                    await super().startup(sockets)
                    _announce(host, listener.getsockname()[1], open_browser, api)

            Server(config).run([listener])


def _listener(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"The page cannot listen on --host={host} --port={port} ({reason}): choose another one, --port=0 chooses a "
            "free one."
        ) from error


def _announce(host: str, port: int, open_browser: bool, api: bool) -> None:
    from fpcn_lightning.field.serving.guard import ALL_ADDRESSES, OPENAPI_PATH, PREDICT_PATH, is_loopback

    if not is_loopback(host):
        print(f"Warning: --host={host} allows other computers to open the page, without a password.", file=sys.stderr)
    reached_as = "localhost" if host in ALL_ADDRESSES else f"[{host}]" if ":" in host else host
    address = f"http://{reached_as}:{port}/"
    print(f"The page is at {address} (Ctrl-C ends it).", flush=True)
    if api:
        print(f"POST photographs to {address.rstrip('/')}{PREDICT_PATH}; see {OPENAPI_PATH} there.", flush=True)
    if open_browser:  # in a thread, since browsers in a terminal block their caller
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
