"""FPCN for rock photographs: teacher, rivals and students that are comparable.

`load` and `train` are the commands `fpcn predict` and `fpcn train` for Python; `RockDataModule` and `make_module` are
for a `Trainer` of one's own. Nothing of them is imported before it is used.
"""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpcn_lightning.api.loading import LoadedModel, load
    from fpcn_lightning.api.modules import RockDataModule, make_module
    from fpcn_lightning.api.training import TrainedModel, train

# onnxruntime reports to its maker unless it is told otherwise before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.2.0"
__all__ = ["LoadedModel", "RockDataModule", "TrainedModel", "load", "make_module", "train"]

_MODULES = {
    "LoadedModel": "loading",
    "load": "loading",
    "RockDataModule": "modules",
    "make_module": "modules",
    "TrainedModel": "training",
    "train": "training",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"fpcn_lightning.api.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
