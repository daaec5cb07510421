"""The names of all folders that runs and tasks write into, built in one place.

A run lies in OUTPUT/NAME/VARIANT/seed-N: `hydra.run` and `hydra.sweep` in `conf/config.yaml` repeat it for Hydra. The
tasks that start from a checkpoint write beside the experiments, into `evaluations`, `bundles` and `explanations`, and
so does the audit of a data set, into `audits`, and a benchmark, into `benchmarks`.
"""

import hashlib
import re
from pathlib import Path

from fpcn_lightning.errors import UserError

EVALUATIONS, BUNDLES, EXPLANATIONS, FIGURES = "evaluations", "bundles", "explanations", "figures"
PAGE_NAME = "index.html"  # in the folder of every run, evaluation, explanation, sweep and audit
MAX_NAME = 200  # bytes; file systems allow 255, and other names are joined to these
AUDITS, BENCHMARKS = "audits", "benchmarks"
_NAME = re.compile(r"[\w+=,.-]*\w[\w+=,.-]*")


def check_names(name: str, variant: str) -> None:
    """Refuse names that would put a run anywhere but below the output folder.

    Raises:
        UserError: names the key.
    """
    for key, value in (("name", name), ("variant", variant)):
        if not _NAME.fullmatch(value):
            raise UserError(f"{key}={value[:MAX_NAME]} names a folder: use letters, digits and . , - + = _ only.")
        if len(value.encode()) > MAX_NAME:
            raise UserError(f"{key}={value[:20]}... is longer than {MAX_NAME} bytes: use a shorter name for a folder.")


def experiment_folder(output: Path, name: str) -> Path:
    """The folder of an experiment, a sweep or a search.

    Raises:
        UserError: as `check_names`; so do all functions below that take a name and a variant.
    """
    check_names(name, name)
    return output / name


def run_folder(output: Path, name: str, variant: str, seed: int) -> Path:
    """The folder of one training."""
    check_names(name, variant)
    return output / name / variant / seed_name(seed)


def seed_name(seed: int) -> str:
    """The last folder of a run."""
    return f"seed-{seed}"


def trial_name(number: int) -> str:
    """The variant that a trial of a search is trained as."""
    return f"trial-{number:04d}"


def run_name(name: str, variant: str, seed: int) -> str:
    """Experiment, variant and seed as one name."""
    return f"{variant_name(name, variant)}-{seed_name(seed)}"


def variant_name(name: str, variant: str) -> str:
    """Experiment and variant as one name."""
    check_names(name, variant)
    return f"{name}-{variant}"


def evaluation_folder(output: Path, name: str, variant: str, seed: int, root: Path | None) -> Path:
    """The folder of the evaluation of a checkpoint on the images below `root`, or on its own where that is None."""
    return output / EVALUATIONS / variant_name(name, variant) / seed_name(seed) / data_name(root)


def data_name(root: Path | None) -> str:
    """The images of an evaluation: `own`, or the name of a folder or CSV with a few digits of its whole path.

    The digits tell folders apart that have the same name, such as `test`.
    """
    if root is None:
        return "own"
    path = root.resolve()
    return f"{path.stem}-{hashlib.sha256(str(path).encode(errors='surrogateescape')).hexdigest()[:6]}"


def audit_folder(output: Path, root: Path) -> Path:
    """The folder of the audit of the images below `root`."""
    return output / AUDITS / data_name(root)


def benchmark_folder(output: Path, variant: str, backbone: str | None) -> Path:
    """The folder of the benchmark of a network, and of its backbone where it has one."""
    return output / BENCHMARKS / _file_name(variant if backbone is None else f"{variant}-{backbone}")


def bundle_folder(output: Path, name: str, variant: str, seed: int) -> Path:
    """The folder of the bundle that is exported from a run."""
    return output / BUNDLES / run_name(name, variant, seed)


def explanation_folder(output: Path, name: str, variant: str, seed: int) -> Path:
    """The folder of the heat maps of a checkpoint."""
    return output / EXPLANATIONS / run_name(name, variant, seed)


def experiment_part(folder: Path, kind: str, experiment: str, *, several: bool) -> Path:
    """The folder `kind` (figures, explanations) of a report, or that of one of several experiments in it.

    Args:
        folder: the folder of the report.
        kind: `FIGURES` or `EXPLANATIONS`.
        experiment: its name as its records give it; what cannot stand in a file name is replaced.
        several: whether the report is about more than one experiment.
    """
    return folder / kind / (_file_name(experiment) if several else "")


def _file_name(name: str) -> str:
    return re.sub(r"[^\w+=,.-]", "_", name).lstrip(".") or "_"
