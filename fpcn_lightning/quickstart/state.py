"""Whether a model is begun, unfinished or finished: one file in the folder of its trainings."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import MANIFEST_NAME
from fpcn_lightning.quickstart.options import TrainOptions
from fpcn_lightning.runs.atomic_write import write_text_atomically

STATE_NAME = "unfinished.json"


@dataclass(frozen=True)
class Settings:
    """What decides about a model: unfinished trainings go on only under the same settings."""

    photographs: str
    budget: str | None
    quick: bool
    paper: bool
    compare: bool
    fingerprint: str

    @classmethod
    def of(cls, options: TrainOptions, fingerprint: str) -> "Settings":
        """The settings of options, for photographs and splits with this fingerprint."""
        budget = None if options.budget is None else f"{options.budget.amount}{options.budget.unit}"
        return cls(str(options.photographs), budget, options.quick, options.paper, options.compare, fingerprint)

    def differences(self, other: "Settings") -> list[str]:
        """What differs, in words."""
        mine, theirs = asdict(self), asdict(other)
        words = {"fingerprint": "the photographs", "photographs": "the folder of the photographs"}
        return [words.get(key, f"--{key}") for key in mine if mine[key] != theirs[key]]


def check_free(options: TrainOptions) -> None:
    """Check that the model may be written, before anything is read.

    Raises:
        UserError: it is finished already and is not to be replaced, or something else has its name.
    """
    if (options.work / STATE_NAME).is_file() and not options.overwrite:
        return
    model, work = options.model, options.work
    ours = (model / MANIFEST_NAME).is_file()
    if model.is_dir() and any(model.iterdir()) and not ours:
        raise UserError(f"{model} exists and is no model: choose another folder with --out.")
    if model.exists() and not model.is_dir():
        raise UserError(f"{model} is a file: choose another folder with --out.")
    if ours and not options.overwrite:
        raise UserError(f"{model} is finished already: replace it with --overwrite, or choose another --out.")
    if work.exists() and not (work.is_dir() and _only_trainings(work)):
        raise UserError(f"{work}, where the trainings would be kept, has other files: choose another --out.")


def begin(options: TrainOptions, settings: Settings) -> bool:
    """Begin the trainings of a model, or go on with those under the same settings; the caller holds the lock.

    Returns:
        Whether there were unfinished ones, which go on.

    Raises:
        UserError: the unfinished trainings have other settings.
    """
    path = options.work / STATE_NAME
    before = None if options.overwrite else _read(path)
    if before is None:
        for place in options.work.iterdir():
            if place.is_dir():
                shutil.rmtree(place)
        write_text_atomically(path, json.dumps(asdict(settings), ensure_ascii=True, indent=2) + "\n")
    elif different := settings.differences(before):
        raise UserError(
            f"{options.work} holds unfinished trainings with another value of {' and '.join(different)}: run the same "
            "command as before, start again with --overwrite, or choose another --out."
        )
    return before is not None


def finish(options: TrainOptions) -> None:
    """Write down that the model is finished."""
    (options.work / STATE_NAME).unlink(missing_ok=True)


def _only_trainings(work: Path) -> bool:
    """Whether a folder holds nothing but what this command writes there: folders, hidden files and its own files."""
    own = (STATE_NAME,)
    return all(path.is_dir() or path.name.startswith(".") or path.name in own for path in work.iterdir())


def _read(path: Path) -> Settings | None:
    """The settings of unfinished trainings; None where there are none, or where they are damaged."""
    try:
        return Settings(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
