"""What is logged to W&B at the end of a run: metrics, confusion matrix, and images with predictions and masks."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.loggers import Logger
from PIL import Image
from torch.nn import functional

from fpcn_lightning.data.index import SPLITS
from fpcn_lightning.report.figures import MOST_CLASSES
from fpcn_lightning.tracking.loggers import RunLogger
from fpcn_lightning.tracking.wandb_run import errors_as_warnings

if TYPE_CHECKING:
    from fpcn_lightning.data.datamodule import RockDataModule
    from fpcn_lightning.modules.classifier import Classifier
    from fpcn_lightning.runs.results import Result

METRICS = ("accuracy", "accuracy_standard_error", "macro_f1", "macro_recall", "loss", "images")
MASK_LABELS = {0: "background", 1: "object"}


def log_outcome(loggers: Iterable[Logger], module: "Classifier", data: "RockDataModule", result: "Result") -> None:
    """Log the outcome of a run with every W&B logger among `loggers`; an error of W&B becomes a warning.

    Args:
        loggers: of the trainer.
        module: with the weights of the best epoch, after validation and, unless test=false, after the test.
        data: the images and their splits.
        result: with `data` and `network` filled in.
    """
    for logger in loggers:
        if isinstance(logger, RunLogger):
            with errors_as_warnings("the outcome of this run"):
                run = logger.experiment
                shown = _pictures(module, data, logger.pictures)
                run.log(
                    {**_inference_modes(module), **_confusion(module, data), **shown, "data/classes": _classes(data)}
                )
                run.summary.update(_facts(result))


def shown_pictures(data: "RockDataModule", count: int) -> tuple[int, ...]:
    """Positions of `count` validation images, the same for all runs of a split.

    They are sorted by a digest of their bytes, which mixes the classes and does not depend on the seed of a run.
    """
    pictures = data.pictures.pictures
    return tuple(sorted(data.split.val, key=lambda position: pictures[position].key)[:count])


def _inference_modes(module: "Classifier") -> dict[str, Any]:
    """A row of metrics for every split and inference mode, and the accuracy by which the epoch was chosen."""
    import wandb

    rows: list[Any] = [
        [split, inference_mode, *(dict(metrics)[column] for column in METRICS)]
        for split, by_mode in module.measured.items()
        for inference_mode, metrics in by_mode.items()
    ]
    best = module.measured["val"][module.network.inference_mode]["accuracy"]
    return {
        "val/best_accuracy": best,
        "inference_modes": wandb.Table(columns=["split", "inference_mode", *METRICS], data=rows),
    }


def _confusion(module: "Classifier", data: "RockDataModule") -> dict[str, Any]:
    import wandb

    # W&B's chart has a row for each pair of classes.
    if "test" not in module.predictions or len(data.classes) > MOST_CLASSES:
        return {}
    predicted = module.predictions["test"]
    chart = wandb.plot.confusion_matrix(
        y_true=[data.pictures.pictures[position].label for position in predicted.positions.tolist()],
        preds=predicted.probabilities.argmax(1).tolist(),
        class_names=list(data.classes),
        title=f"Test split, {module.network.inference_mode}",
    )
    return {"test/confusion_matrix": chart}


@torch.inference_mode()
def _pictures(module: "Classifier", data: "RockDataModule", count: int) -> dict[str, Any]:
    import wandb

    chosen = shown_pictures(data, count)
    if not chosen:
        return {}
    images, labels, _ = data.pictures.centres(chosen)
    module.eval()
    predictions = module.network.predict(module.normalised(images.to(module.device)))
    probability, predicted = predictions.logits[module.network.inference_mode].float().softmax(1).max(1)
    shown = []
    for row, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        caption = f"{data.classes[labels[row]]}: predicted {data.classes[predicted[row]]}, {probability[row]:.0%}"
        if predictions.object_ratio is not None:
            caption += f"; object {predictions.object_ratio[row]:.0%}"
        mask = None if predictions.mask is None else _overlay(predictions.mask[row], image.shape[0])
        shown.append(wandb.Image(Image.fromarray(image), caption=caption, masks=mask))
    return {"val/pictures": shown}


def _overlay(mask: torch.Tensor, size: int) -> dict[str, Any]:
    """A mask [H, W] that is 1 on the object, as the overlay of an image of `size` x `size` pixels for W&B."""
    resized = functional.interpolate(mask[None, None].float(), size=(size, size), mode="nearest")[0, 0]
    pixels = (resized == 1).byte().cpu().numpy()
    return {"positioning": {"mask_data": pixels, "class_labels": MASK_LABELS}}


def _classes(data: "RockDataModule") -> Any:
    """Images of every class in every split."""
    import wandb

    pictures = data.pictures.pictures
    splits = {split: getattr(data.split, split) for split in SPLITS}
    counts = Counter((split, pictures[position].label) for split, chosen in splits.items() for position in chosen)
    rows: list[Any] = [[name, *(counts[split, number] for split in SPLITS)] for number, name in enumerate(data.classes)]
    return wandb.Table(columns=["class", *SPLITS], data=rows)


def _facts(result: "Result") -> dict[str, Any]:
    """Facts about the network and its data that are not in the config, for the columns of W&B's table of runs."""
    facts = {f"network/{key}": value for key, value in (result["network"] or {}).items()}
    if result["data"] is not None:
        facts |= {f"data/images_{split}": count for split, count in result["data"]["images"].items()}
        facts |= {f"data/{key}": result["data"][key] for key in ("refused", "fingerprint")}
    return facts
