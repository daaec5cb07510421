"""Which scales of a file are trusted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fpcn_lightning.field.mapping.read.section import SectionFile

PER_CENTIMETRE = 1e4 / 1.2


@pytest.mark.parametrize(
    ("name", "options", "scale"),
    [
        ("a.tif", {"resolution": (PER_CENTIMETRE, PER_CENTIMETRE), "resolutionunit": "CENTIMETER"}, 1.2),
        ("a.tif", {"resolution": (2.54 * PER_CENTIMETRE,) * 2, "resolutionunit": "INCH"}, 1.2),
        ("a.tif", {"resolution": (PER_CENTIMETRE, 2 * PER_CENTIMETRE), "resolutionunit": "CENTIMETER"}, None),
        ("a.tif", {"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ("a.tif", {"resolution": (1 / 1.2, 1 / 1.2), "resolutionunit": "NONE"}, None),
        ("a.tif", {}, None),
        ("a.tif", {"imagej": True, "resolution": (1 / 1.2, 1 / 1.2), "metadata": {"unit": "um"}}, 1.2),
        (
            "a.ome.tif",
            {
                "metadata": {
                    "axes": "YXS",
                    "PhysicalSizeX": 1200,
                    "PhysicalSizeXUnit": "nm",
                    "PhysicalSizeY": 1.2,
                    "PhysicalSizeYUnit": "µm",
                }
            },
            1.2,
        ),
    ],
)
def test_the_scale_of_a_file(tmp_path: Path, name: str, options: Any, scale: float | None) -> None:
    picture, path = np.zeros((20, 30, 3), np.uint8), tmp_path / name
    photometric = {} if "imagej" in options else {"photometric": "rgb"}
    tifffile.imwrite(path, picture, **{"metadata": None, **photometric, **options})
    with SectionFile(path) as section:
        assert section.micrometres_per_pixel == (None if scale is None else pytest.approx(scale, rel=1e-3))
