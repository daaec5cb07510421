"""The metrics of one evaluation, from the gathered predictions of all processes."""

from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_recall,
)

from fpcn_lightning.runs.results import Metrics


def summarise(logits: Tensor, labels: Tensor) -> Metrics:
    """Accuracy with its binomial standard error, macro F1, macro recall, cross entropy and confusion matrix.

    Macro averages are over the classes that occur in `labels` or among the predictions.

    Args:
        logits: [N, C], N at least 1.
        labels: long [N].
    """
    logits = logits.float()
    classes, images = logits.shape[1], len(labels)
    predicted = logits.argmax(1)
    accuracy = int((predicted == labels).sum()) / images  # exact, as its standard error is
    macro = {"num_classes": classes, "average": "macro"}
    return Metrics(
        accuracy=accuracy,
        accuracy_standard_error=sqrt(accuracy * (1 - accuracy) / images),
        macro_f1=multiclass_f1_score(predicted, labels, **macro).item(),  # type: ignore[arg-type]
        macro_recall=multiclass_recall(predicted, labels, **macro).item(),  # type: ignore[arg-type]
        loss=functional.cross_entropy(logits, labels).item(),
        images=images,
        confusion=multiclass_confusion_matrix(predicted, labels, classes).to(torch.int64).tolist(),
    )
