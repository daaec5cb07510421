"""What all HTML pages share: templates that escape text, and pictures inside the page."""

import base64
import io
from typing import Literal

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from PIL import Image

_QUALITY = 80  # of JPEG: a tenth of the PNG of photographs


def templates(*packages: str) -> Environment:
    """The templates in the folders of packages, given by dotted names; a file of an earlier one has priority."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package, ".") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(data: bytes, kind: str) -> str:
    """The content of a picture as an address; `kind` as in image/KIND."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def image_uri(image: Image.Image, kind: Literal["jpeg", "png"] = "jpeg", quality: int = _QUALITY) -> str:
    """An image as an address; `quality` is that of JPEG, up to 95."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": quality} if kind == "jpeg" else {}))
    return data_uri(buffer.getvalue(), kind)
