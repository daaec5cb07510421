import contextlib

import pytest
import torch
from torch import Tensor

from fpcn_lightning.deploy.measure import PARITY, check_predictions, measured_entry, unknown_shares
from fpcn_lightning.deploy.predictions import DeployedPredictions, PicturePredictions
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import ModelFile

LABELS = torch.arange(200) % 2


def entry(precision: str) -> ModelFile:
    return ModelFile(
        runtime="onnxruntime",
        precision="int8" if precision == "int8" else "fp32",
        bytes=1,
        sha256="0" * 64,
        accuracy=None,
        agreement=None,
        threshold=0.0,
        quantiles={},
    )


def pictures(wrong: int, shift: float = 0.0) -> PicturePredictions:
    """200 predictions, the first `wrong` of them of the other class; scores 0 to 199."""
    predictions = torch.where(torch.arange(200) < wrong, 1 - LABELS, LABELS)
    probabilities: Tensor = 0.2 + 0.6 * torch.nn.functional.one_hot(predictions, 2).double()
    return PicturePredictions(LABELS, probabilities + torch.tensor([shift, -shift]), torch.arange(200.0), torch.eye(2))


def both(val: PicturePredictions, test: PicturePredictions | None) -> DeployedPredictions:
    return DeployedPredictions(val, test)


def test_int8_may_lose_only_the_allowed_points() -> None:
    reference, name, file = both(pictures(10), pictures(10)), "model.int8.onnx", entry("int8")
    check_predictions(name, file, both(pictures(200), pictures(12)), reference, 1.0)
    check_predictions(name, file, both(pictures(200), pictures(0)), reference, 0.0)
    check_predictions(name, file, both(pictures(10), None), reference, 0.0)
    with pytest.raises(UserError, match=r"loses 95\.00 points of validation accuracy"):
        check_predictions(name, file, both(pictures(200), None), reference, 1.0)
    with pytest.raises(UserError, match=r"model\.int8\.onnx loses 1\.50 points .* export\.max_drop=1:"):
        check_predictions(name, file, both(pictures(10), pictures(13)), reference, 1.0)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_float_file_must_give_the_same_probabilities(split: str) -> None:
    reference = both(pictures(10), pictures(10))
    near, far = (reference._replace(**{split: pictures(10, factor * PARITY)}) for factor in (0.9, 1.1))
    check_predictions("model.onnx", entry("fp32"), near, reference, 1.0)
    for predicted in (far, reference._replace(**{split: pictures(10, float("nan"))})):
        with pytest.raises(UserError, match=r"model\.onnx differs from PyTorch by .* in a probability"):
            check_predictions("model.onnx", entry("fp32"), predicted, reference, 1.0)


def test_a_float_file_must_give_the_same_scores() -> None:
    reference = both(pictures(10), None)
    for factor, message in ((1.009, None), (1.02, "in a score"), (float("nan"), "in a score")):
        predicted = both(pictures(10)._replace(score=torch.arange(200.0) * factor), None)
        with pytest.raises(UserError, match=message) if message else contextlib.nullcontext():
            check_predictions("model.onnx", entry("fp32"), predicted, reference, 1.0)


def test_measurements_are_in_the_entry() -> None:
    predicted, reference = both(pictures(0), pictures(10)), both(pictures(0), pictures(4))
    measured = measured_entry(entry("int8"), predicted, reference, 0.9)
    assert (measured["accuracy"], measured["agreement"]) == (0.95, 0.97)
    assert measured["threshold"] == pytest.approx(19.1)
    assert measured["quantiles"]["0.9"] == pytest.approx(0.2)
    assert unknown_shares(measured, predicted) == (0.1, 0.1)
    without_test = both(pictures(0), None)
    assert measured_entry(entry("int8"), without_test, without_test, 0.9)["accuracy"] is None
    assert unknown_shares(measured, without_test) == (0.1, None)
