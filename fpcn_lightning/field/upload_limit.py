"""The door in front of Gradio: it lets through what the page asks for, and nothing else."""

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_PAGES = frozenset(("/", "/config", "/theme.css", "/manifest.json", "/favicon.ico"))
_FOLDERS = ("/assets/", "/static/")
_CALLS = tuple(f"/gradio_api/{call}" for call in ("upload", "queue/", "heartbeat/"))


class Door:
    """Middleware that refuses all that the page does not need.

    Gradio offers much more: it gives out and fetches files, keeps recordings, records what users do. Some of that
    serves strangers as soon as the page is open to a network.

    Args:
        app: what lies behind the door.
        most_bytes: of the body of one request, whose length must be told beforehand.
    """

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        path = scope["path"]
        if path not in _PAGES and not path.startswith(_FOLDERS + _CALLS):
            return PlainTextResponse("This page has no such part.", 404)
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or not length.isdigit() or int(length) > self._most_bytes:
            return PlainTextResponse("These are too many bytes for one go: choose fewer pictures.", 413)
        return None
