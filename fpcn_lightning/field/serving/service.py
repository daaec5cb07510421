"""Receives and classifies photographs, for the page and for the REST endpoint."""

import asyncio
import sys
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from fpcn_lightning.data.images import ImageReader
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.serving.pictures import PictureResult, classify_upload, refused
from fpcn_lightning.field.serving.uploads import FileTooLarge, UploadStore

PARALLEL = 2  # one photograph is decoded while the network, which uses all cores, sees another


class PredictionService:
    """Classifies a bounded number of photographs at a time.

    Args:
        model: a loaded bundle.
        store: keeps the photographs meanwhile.
        reader: reads them in helper processes.
    """

    def __init__(self, model: BundleModel, store: UploadStore, reader: ImageReader) -> None:
        self.model = model
        self.store = store
        self.reader = reader
        self._slots = asyncio.Semaphore(PARALLEL)

    async def classify(self, chunks: AsyncIterator[bytes], name: str, *, images: bool) -> PictureResult:
        """Receive and classify one photograph. One that cannot be classified has a result, too.

        Args:
            chunks: of the file.
            name: that the client sent, for display alone.
            images: whether to return a small copy and the heat map, too.

        Raises:
            HTTPException: 408, it was not received in time.
        """
        try:
            async with self.store.stored(chunks) as path, self._slots:
                return await run_in_threadpool(classify_upload, self.model, self.reader, path, name, images=images)
        except FileTooLarge as error:
            return refused(name, str(error))
        except UserError as error:
            print(f"fpcn: {error}", file=sys.stderr)  # it names a path of this computer, which is not for clients
            return refused(name, "the network of the bundle failed on it")
