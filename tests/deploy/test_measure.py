import pytest
import torch
from torch import Tensor

from fpcn_lightning.deploy.measure import PARITY, judge, measured, unknown
from fpcn_lightning.deploy.predictions import Both, Side
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


def side(wrong: int, shift: float = 0.0) -> Side:
    """200 answers, the first `wrong` of them to the other class; scores 0 to 199."""
    predictions = torch.where(torch.arange(200) < wrong, 1 - LABELS, LABELS)
    probabilities: Tensor = 0.2 + 0.6 * torch.nn.functional.one_hot(predictions, 2).double()
    return Side(LABELS, probabilities + torch.tensor([shift, -shift]), torch.arange(200.0))


def test_eight_bits_may_lose_so_many_points_and_no_more() -> None:
    reference = Both(side(10), side(10))
    judge("model.int8.onnx", entry("int8"), Both(side(200), side(12)), reference, 1.0)
    judge("model.int8.onnx", entry("int8"), Both(side(200), side(0)), reference, 0.0)
    judge("model.int8.onnx", entry("int8"), Both(side(10), None), reference, 0.0)
    with pytest.raises(UserError, match=r"loses 95\.00 points of validation accuracy"):
        judge("model.int8.onnx", entry("int8"), Both(side(200), None), reference, 1.0)
    with pytest.raises(UserError, match=r"model\.int8\.onnx loses 1\.50 points .* export\.max_drop=1:"):
        judge("model.int8.onnx", entry("int8"), Both(side(10), side(13)), reference, 1.0)


@pytest.mark.parametrize("place", ["validation", "test"])
def test_a_float_file_must_give_the_same_probabilities(place: str) -> None:
    reference = Both(side(10), side(10))
    near, far = (reference._replace(**{place: side(10, factor * PARITY)}) for factor in (0.9, 1.1))
    judge("model.onnx", entry("fp32"), near, reference, 1.0)
    for said in (far, reference._replace(**{place: side(10, float("nan"))})):
        with pytest.raises(UserError, match=r"model\.onnx differs from PyTorch by .* in a probability"):
            judge("model.onnx", entry("fp32"), said, reference, 1.0)


def test_what_is_measured_stands_in_the_entry() -> None:
    said, reference = Both(side(0), side(10)), Both(side(0), side(4))
    found = measured(entry("int8"), said, reference, 0.9)
    assert (found["accuracy"], found["agreement"], found["threshold"]) == (0.95, 0.97, 20.0)
    assert found["quantiles"]["0.9"] == pytest.approx(0.2)
    assert unknown(found, said) == (0.1, 0.1)
    assert measured(entry("int8"), Both(side(0), None), Both(side(0), None), 0.9)["accuracy"] is None
    assert unknown(found, Both(side(0), None)) == (0.1, None)
