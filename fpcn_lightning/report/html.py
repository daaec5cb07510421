"""What all pages share: the style, the macro of a table, and pictures inside the page."""

import base64
import io
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from PIL import Image

_QUALITY = 80  # of JPEG: a tenth of the PNG of photographs


def render(package: str, name: str, **values: Any) -> str:
    """The HTML of a template in the folder of `package`; it may include those of `fpcn_lightning.report`.

    Args:
        package: dotted name of the package.
        name: of the template's file.
        values: what the template shows; text is escaped.
    """
    packages = dict.fromkeys((package, "fpcn_lightning.report"))
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each, ".") for each in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(values)


def jpeg_source(image: Image.Image) -> str:
    """An image as the data URI of a JPEG."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
