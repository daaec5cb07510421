"""The REST endpoint `POST /predict`."""

from collections.abc import AsyncIterator
from http import HTTPStatus

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile

from fpcn_lightning.field.serving.guard import PREDICT_PATH
from fpcn_lightning.field.serving.pictures import MAX_PICTURES, PictureResult
from fpcn_lightning.field.serving.service import PredictionService
from fpcn_lightning.field.serving.verdict import State

_CHUNK = 2**16  # bytes
_FORM_OVERHEAD = 2**20  # bytes of a request besides the files
_FIELD = "files"
_REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [_FIELD],
                    "properties": {
                        _FIELD: {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": MAX_PICTURES,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            }
        },
    }
}


class ClassScore(BaseModel):
    """A class and its calibrated probability."""

    name: str
    probability: float = Field(ge=0, le=1)


class Photograph(BaseModel):
    """The prediction for one photograph."""

    name: str = Field(description="name of the file, as it was sent, without folders")
    state: State = Field(description="how far the prediction can be relied on")
    plausible: list[str] = Field(description="classes that cannot be ruled out, the most likely first")
    classes: list[ClassScore] = Field(description="the most likely classes, the most likely first")
    score: float | None = Field(description="the lower, the less it looks like the training photographs")
    error: str | None = Field(description="why the file was not classified")


class Predictions(BaseModel):
    """The response of `POST /predict`."""

    bundle: str
    file: str = Field(description="name of the model file")
    predictions: list[Photograph] = Field(description="in the order of the files")


def max_request_bytes(max_file: int) -> int:
    """The largest request, with files of at most `max_file` bytes."""
    return MAX_PICTURES * max_file + _FORM_OVERHEAD


def add_predict(app: FastAPI, service: PredictionService) -> None:
    """Add the endpoint to an application."""

    @app.post(
        PREDICT_PATH,
        openapi_extra=_REQUEST_BODY,
        responses={
            400: {"description": "no multipart form, or too many files"},
            408: {"description": "the upload took too long"},
            413: {"description": "the request is too large"},
            503: {"description": "too many uploads at a time; try again later"},
        },
    )
    async def predict(request: Request) -> Predictions:
        """Classify photographs. A file that cannot be read has a result with the reason."""
        store = service.store
        with store.reserved(int(request.headers["content-length"]), files=0):
            async with store.receiving():
                form = await request.form(max_files=MAX_PICTURES, max_fields=0)
            try:
                files = [file for file in form.getlist(_FIELD) if isinstance(file, UploadFile)]
                if not files:
                    raise HTTPException(
                        HTTPStatus.BAD_REQUEST, f"send photographs as multipart/form-data in the field {_FIELD}"
                    )
                with store.reserved(0, len(files)):
                    results = [
                        await service.classify(_chunks(file), file.filename or "", images=False) for file in files
                    ]
            finally:
                await form.close()
        bundle = service.model.bundle
        return Predictions(
            bundle=bundle.name, file=service.model.file, predictions=[_photograph(result) for result in results]
        )


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(_CHUNK):
        yield chunk


def _photograph(result: PictureResult) -> Photograph:
    return Photograph(
        name=result.name,
        state=result.verdict.state,
        plausible=list(result.verdict.plausible),
        classes=[ClassScore(name=entry.name, probability=entry.probability) for entry in result.top],
        score=result.prediction.score,
        error=result.error,
    )
