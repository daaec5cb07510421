"""The web application of `fpcn serve`: the page, its uploads, and the REST endpoint."""

import logging
import secrets
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request
from nicegui import Client, ui
from starlette.types import ASGIApp

from fpcn_lightning import __version__
from fpcn_lightning.data.images import ImageReader
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.serving.about import about
from fpcn_lightning.field.serving.api import add_predict, max_request_bytes
from fpcn_lightning.field.serving.guard import OPENAPI_PATH, UPLOAD_PATH, AllowedHosts, RequestGuard
from fpcn_lightning.field.serving.page import Page, UploadPlace
from fpcn_lightning.field.serving.pictures import csv_of
from fpcn_lightning.field.serving.service import PredictionService
from fpcn_lightning.field.serving.uploads import UploadStore

MAX_PAGES = 100  # open at a time
_RECONNECT_SECONDS = 30.0  # for which the results of a page are kept when its connection is lost
_KEPT_MESSAGES = 100  # for a page that connects again


def make_app(
    model: BundleModel, reader: ImageReader, folder: Path, hosts: AllowedHosts, max_megabytes: int, *, api: bool
) -> ASGIApp:
    """The application; at most one can be made in a process.

    Args:
        model: classifies the photographs.
        reader: reads them.
        folder: where they are kept meanwhile.
        hosts: names that requests may be addressed to.
        max_megabytes: of one photograph's file.
        api: whether to offer the REST endpoint.
    """
    logging.getLogger("nicegui").setLevel(logging.ERROR)  # it warns of every address that does not exist
    max_file = max_megabytes * 2**20
    max_request = max_request_bytes(max_file)
    service = PredictionService(model, UploadStore(folder, max_file, max_request), reader)
    app = FastAPI(
        title=f"fpcn serve: {model.bundle.name}",
        version=__version__,
        openapi_url=OPENAPI_PATH if api else None,
        docs_url=None,  # they load scripts from another host
        redoc_url=None,
    )
    if api:
        add_predict(app, service)
    _add_page(app, service)
    ui.run_with(
        app,
        title=model.bundle.name,
        favicon="🪨",
        dark=None,  # as the browser prefers
        reconnect_timeout=_RECONNECT_SECONDS,
        message_history_length=_KEPT_MESSAGES,
        binding_refresh_interval=None,
        tailwind=False,
        show_welcome_message=False,
    )
    return RequestGuard(app, hosts, max_file, max_request if api else None)


def _add_page(app: FastAPI, service: PredictionService) -> None:
    pages: dict[str, Page] = {}
    facts = about(service.model)

    @ui.page("/", language="en-US")
    def show(client: Client) -> None:
        if len(Client.instances) > MAX_PAGES:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "Too many pages are open.")
        handle = secrets.token_urlsafe()
        pages[handle] = Page(
            facts, lambda results: csv_of(results, service.model), UPLOAD_PATH + handle, service.store.max_file
        )
        client.on_delete(lambda: pages.pop(handle, None))

    @app.post(UPLOAD_PATH + "{handle}", include_in_schema=False, status_code=HTTPStatus.NO_CONTENT)
    async def upload(handle: str, place: Annotated[UploadPlace, Query()], request: Request) -> None:
        """Classify one photograph of a page, which shows the result before the response is sent."""
        page = pages.get(handle)
        if page is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "the page was closed")
        with service.store.reserved(int(request.headers["content-length"])):
            result = await service.classify(request.stream(), place.name, images=True)
        page.add(place, result)
