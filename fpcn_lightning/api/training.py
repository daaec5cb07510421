"""`fpcn_lightning.train`: what the command `fpcn train` does, with its options as keywords."""

import os
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.api.loading import load
from fpcn_lightning.data.files import with_home
from fpcn_lightning.field.loaded import LoadedModel
from fpcn_lightning.field.usability import Usability
from fpcn_lightning.quickstart.command import run
from fpcn_lightning.quickstart.options import TrainOptions
from fpcn_lightning.stopping import stopped


@dataclass(frozen=True)
class TrainedModel:
    """The model of `train`, and where it is.

    Attributes:
        model: loaded from the bundle.
        bundle: folder of the bundle; `index.html` in it says what was found.
        run: folder of the training of the chosen network.
        network: what the chosen network is, such as `linear probe`.
        val_accuracy: share of validation photographs that it classified correctly, 0..1.
        test_accuracy: likewise, of test photographs.
        usability: whether the model may be relied on, with the reasons if not.
    """

    model: LoadedModel
    bundle: Path
    run: Path
    network: str
    val_accuracy: float
    test_accuracy: float
    usability: Usability


def train(
    folder: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    budget: str | None = None,
    quick: bool = False,
    paper: bool = False,
    compare: bool = False,
    overwrite: bool = False,
) -> TrainedModel:
    """Make a model from photographs, as `fpcn train` does: check, train, choose, export.

    Args:
        folder: a folder with a folder for each class, or a list (.csv, .xlsx) with the columns `path` and `label`.
        out: folder of the model; None is the name of `folder` with `-model`, in the current folder. The trainings are
            kept next to it, in `OUT-training`, and an interrupted call goes on there.
        budget: what all trainings together may take, such as `20min`, `2h` or `600steps`; None is 20min, or, with
            `paper`, the 100 epochs of the paper.
        quick: a linear probe only, without a training.
        paper: FPCN as its paper trains it: needs a GPU and hours.
        compare: train FPCN as well as a plain network, and write a report about both.
        overwrite: replace a finished model, and start all trainings again.

    Raises:
        UserError: packages are missing, the photographs cannot be used, the options contradict each other, or the model
            is finished already.
        RunInUse: another process is making this model.
        Stopped: it was interrupted; the same call goes on.

    Example:
        >>> import fpcn_lightning
        >>> trained = fpcn_lightning.train("photographs", budget="20min")
        >>> trained.val_accuracy
        0.93
        >>> trained.model.predict("new-photographs")
    """
    options = TrainOptions.checked(
        Path(with_home(os.fspath(folder))),
        out=None if out is None else Path(with_home(os.fspath(out))),
        budget=budget,
        quick=quick,
        paper=paper,
        compare=compare,
        overwrite=overwrite,
    )
    try:
        made = run(options)
    except (KeyboardInterrupt, SystemExit) as error:
        if (signal := stopped(error)) is None:
            raise
        raise signal from None
    assert made is not None  # since it is no dry run
    return TrainedModel(
        model=load(made.bundle),
        bundle=made.bundle,
        run=made.chosen.folder,
        network=made.chosen.network.title,
        val_accuracy=made.chosen.metrics("val")["accuracy"],
        test_accuracy=made.chosen.metrics("test")["accuracy"],
        usability=made.usability,
    )
