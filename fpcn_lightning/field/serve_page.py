"""The page of `fpcn serve`, made with Gradio, and the filter of requests to it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import gradio
from fastapi import FastAPI
from gradio.themes import Font
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.classify import Prediction
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.serve_predictions import MAX_PICTURES, about_html, notes_html, reply

_DELETE_CACHE = (60, 600)  # seconds: how often unused uploads are deleted, and from which age on
_MAX_QUEUE = 20  # calls
_MEGABYTE = 2**20  # as Gradio counts for its limit of a file
_CSS = (Path(__file__).parent / "serve.css").read_text("utf-8")

_PAGES = frozenset(("/", "/config", "/theme.css", "/manifest.json", "/favicon.ico"))
_FOLDERS = ("/assets/", "/static/")
_CALLS = tuple(f"/gradio_api/{call}" for call in ("upload", "queue/", "heartbeat/"))


def make_app(model: BundleModel, max_megabytes: int) -> FastAPI:
    """The page as a web application.

    Args:
        model: classifies the pictures.
        max_megabytes: of one picture's file.
    """
    app = FastAPI(openapi_url=None)
    app.add_middleware(RequestFilter, max_bytes=MAX_PICTURES * max_megabytes * _MEGABYTE)
    gradio.mount_gradio_app(
        app,
        page(model, max_megabytes),
        path="/",
        max_file_size=max_megabytes * _MEGABYTE,
        theme=gradio.themes.Default(font=Font("sans-serif"), font_mono=Font("monospace")),  # of the reader's system
        css=_CSS,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
    )
    return app


def page(model: BundleModel, max_megabytes: int) -> gradio.Blocks:
    """The elements of the page; `max_megabytes` is only displayed."""

    def classify_uploads(uploads: list[str], progress: gradio.Progress = gradio.Progress()) -> tuple[None, str]:  # noqa: B008
        """Clear the drop zone and show the predictions."""

        def with_progress(predictions: Iterator[Prediction], total: int) -> Iterable[Prediction]:
            shown: Iterable[Prediction] = progress.tqdm(predictions, total=total, desc="Classifying", unit="pictures")
            return shown

        try:
            return None, reply(model, [Path(upload) for upload in uploads], with_progress)
        except UserError as error:
            raise gradio.Error(str(error)) from error

    blocks: gradio.Blocks
    with gradio.Blocks(title=model.bundle.name, analytics_enabled=False, delete_cache=_DELETE_CACHE) as blocks:
        gradio.HTML(about_html(model.bundle), elem_classes="fpcn", apply_default_css=False)
        drop = gradio.File(label=f"Photographs, up to {max_megabytes} MB each", file_count="multiple", height=180)
        shown = gradio.HTML(elem_classes="fpcn", apply_default_css=False)
        gradio.HTML(notes_html(model), elem_classes="fpcn", apply_default_css=False)
        drop.upload(classify_uploads, drop, [drop, shown], api_visibility="private", show_progress_on=shown)
    blocks.queue(max_size=_MAX_QUEUE)
    return blocks


class RequestFilter:
    """Middleware with a list of the paths that the page needs and an upload limit; all other requests are refused.

    Gradio offers much more: it serves and fetches files, stores recordings, and records what users do. Some of that
    would be available to anyone as soon as the page is open to a network.

    Args:
        app: the application that gets the allowed requests.
        max_bytes: of the body of one request, which must have a `Content-Length`.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse one request, or pass it on."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        path = scope["path"]
        if path not in _PAGES and not path.startswith(_FOLDERS + _CALLS):
            return PlainTextResponse("This page does not exist.", 404)
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or not length.isdigit() or int(length) > self._max_bytes:
            return PlainTextResponse("The upload is too large: choose fewer pictures.", 413)
        return None
