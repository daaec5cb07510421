"""The filter of requests to `fpcn serve`: which hosts, origins, paths and sizes are allowed."""

import ipaddress
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
ALL_ADDRESSES = ("", "0.0.0.0", "::")

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:@/\[\]]+)(:\d{1,5})?")
_POLICY_VIOLATION = 1008
_READS = ("GET", "HEAD")
_PAGES = frozenset(("/", "/favicon.ico"))
_ASSETS = "/_nicegui/"
_SOCKET = "/_nicegui_ws/"
UPLOAD_PATH = "/upload/"
PREDICT_PATH = "/predict"
OPENAPI_PATH = "/openapi.json"

# 'unsafe-inline' and 'unsafe-eval': NiceGUI starts with a script in the page, and Vue compiles its templates in the
# browser. What matters here is that nothing is loaded from, or sent to, another host.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class AllowedHosts:
    """The host names that requests may be addressed to. Any other is a web page that pretends to be this server.

    Attributes:
        names: host names and addresses in lower case, without ports.
        any_address: whether every IP address is allowed too: the server listens on all addresses of this computer,
            and a browser that names an address has not been misled by DNS.
        proxies: names that a reverse proxy is reached by; their pages may send requests under another `Host`.
    """

    names: frozenset[str]
    any_address: bool
    proxies: frozenset[str]

    @classmethod
    def of(cls, host: str, extra: Collection[str] = ()) -> "AllowedHosts":
        """The names of a server that listens on `host`, and `extra` ones."""
        proxies = frozenset(name.lower() for name in extra)
        if host in ALL_ADDRESSES:
            own = socket.gethostname().lower()
            return cls(LOOPBACK_NAMES | proxies | {own, f"{own}.local"}, True, proxies)
        loopback = LOOPBACK_NAMES if is_loopback(host) else frozenset()
        return cls(loopback | proxies | {host.lower()}, False, proxies)

    def allow(self, host: str) -> bool:
        """Whether a request with this `Host` header is for this server."""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]").lower().rstrip(".")
        return name in self.names or (self.any_address and _is_address(name))

    def allow_origin(self, origin: str, host: str) -> bool:
        """Whether a page of this `Origin` may send a request to this `Host`: only the server's own page."""
        try:
            parts = urlsplit(origin)
            name = parts.hostname
        except ValueError:
            return False
        if parts.scheme not in ("http", "https"):  # such as "null", of a sandboxed frame
            return False
        return parts.netloc.lower() == host.lower() or name in self.proxies


def is_loopback(host: str) -> bool:
    """Whether only this computer can connect to this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class RequestGuard:
    """ASGI middleware that refuses whatever the page and the REST endpoint do not need.

    - `Host` must name this server (DNS rebinding), and `Origin`, if there is one, its own page: for uploads, for the
      REST endpoint and for the websocket alike.
    - Only listed paths and methods exist.
    - A body needs a `Content-Length`, which is limited.
    - Responses forbid the browser to load anything from another host and to show the page in a frame.

    Args:
        app: the application that gets the allowed requests.
        hosts: of this server.
        max_upload: bytes of one uploaded photograph.
        max_request: bytes of a request to the REST endpoint; None if there is no such endpoint.
    """

    def __init__(self, app: ASGIApp, hosts: AllowedHosts, max_upload: int, max_request: int | None) -> None:
        self._app = app
        self._hosts = hosts
        self._max_upload = max_upload
        self._max_request = max_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse one request, or pass it on."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refused_source(Headers(scope=scope)) or self._refused_path(scope)
        if refusal is not None and scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": _POLICY_VIOLATION})  # the server answers 403
        return await (refusal or self._app)(scope, receive, send_protected)

    def _refused_source(self, headers: Headers) -> PlainTextResponse | None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._hosts.allow(hosts[0]):
            return _refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This server is not reached under this host name: open the address that fpcn serve printed, or allow "
                "the name with --allow-host.",
            )
        if len(origins) > 1 or not all(self._hosts.allow_origin(origin, hosts[0]) for origin in origins):
            return _refusal(HTTPStatus.FORBIDDEN, "Requests from pages of other sites are refused.")
        return None

    def _refused_path(self, scope: Scope) -> PlainTextResponse | None:
        path: str = scope["path"]
        if scope["type"] == "websocket":
            return None if path.startswith(_SOCKET) else _refusal(HTTPStatus.NOT_FOUND, "Not found.")
        method = scope["method"]
        if method in _READS and (path in _PAGES or path.startswith((_ASSETS, _SOCKET)) or self._is_schema(path)):
            return None
        if method == "POST" and path.startswith(_SOCKET):
            return None  # engine.io limits these bodies
        limit = self._limit(path) if method == "POST" else None
        if limit is None:
            return _refusal(HTTPStatus.NOT_FOUND, "Not found.")
        return self._refused_body(Headers(scope=scope), limit)

    def _is_schema(self, path: str) -> bool:
        return self._max_request is not None and path == OPENAPI_PATH

    def _limit(self, path: str) -> int | None:
        """The largest body in bytes that may be sent to a path; None for all other paths."""
        if path.startswith(UPLOAD_PATH):
            return self._max_upload
        return self._max_request if path == PREDICT_PATH else None

    @staticmethod
    def _refused_body(headers: Headers, limit: int) -> PlainTextResponse | None:
        length = headers.get("content-length", "")
        if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
            return _refusal(HTTPStatus.LENGTH_REQUIRED, "The request needs a Content-Length.")
        if int(length) > limit:
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"More than {limit // 2**20} MB are too large.")
        return None


def _refusal(status: HTTPStatus, reason: str) -> PlainTextResponse:
    # The body of the request is not read; without this the server would wait for it on the same connection.
    return PlainTextResponse(reason, status, {"Connection": "close"})
