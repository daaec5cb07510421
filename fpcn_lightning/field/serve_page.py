"""The page of `fpcn serve`, made with Gradio."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import gradio
from fastapi import FastAPI
from gradio.themes import Font

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.classify import Prediction
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.serve_predictions import MOST_PICTURES, about_html, notes_html, reply
from fpcn_lightning.field.upload_limit import Door

_SWEEP = (60, 600)  # seconds: how often uploads that nobody asked about are deleted, and from which age on
_CALLS_WAITING = 20
_MEGABYTE = 2**20  # as Gradio counts when it refuses a file
_CSS = (Path(__file__).parent / "serve.css").read_text("utf-8")


def make_app(model: BundleModel, max_megabytes: int) -> FastAPI:
    """The page as a web application.

    Args:
        model: what answers.
        max_megabytes: of one picture's file.
    """
    app = FastAPI(openapi_url=None)
    app.add_middleware(Door, most_bytes=MOST_PICTURES * max_megabytes * _MEGABYTE)
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
    """What is on the page; `max_megabytes` is only told to the reader."""

    def look_at(uploads: list[str], progress: gradio.Progress = gradio.Progress()) -> tuple[None, str]:  # noqa: B008
        """Empty the drop zone and show the answers."""

        def watched(predictions: Iterator[Prediction], total: int) -> Iterable[Prediction]:
            shown: Iterable[Prediction] = progress.tqdm(predictions, total=total, desc="Looking", unit="pictures")
            return shown

        try:
            return None, reply(model, [Path(upload) for upload in uploads], watched)
        except UserError as error:
            raise gradio.Error(str(error)) from error

    blocks: gradio.Blocks
    with gradio.Blocks(title=model.bundle.name, analytics_enabled=False, delete_cache=_SWEEP) as blocks:
        gradio.HTML(about_html(model.bundle), elem_classes="fpcn", apply_default_css=False)
        drop = gradio.File(label=f"Photographs, up to {max_megabytes} MB each", file_count="multiple", height=180)
        shown = gradio.HTML(elem_classes="fpcn", apply_default_css=False)
        gradio.HTML(notes_html(model), elem_classes="fpcn", apply_default_css=False)
        drop.upload(look_at, drop, [drop, shown], api_visibility="private", show_progress_on=shown)
    blocks.queue(max_size=_CALLS_WAITING)
    return blocks
