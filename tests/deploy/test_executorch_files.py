"""Files for phones of networks that locate the object."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fpcn_lightning.deploy.executorch_files import load_pte, write_pte
from fpcn_lightning.deploy.wrapper import DeployedNetwork
from fpcn_lightning.models.fpcn import FPCN
from tests.deploy.test_onnx_files import PRESETS, SIDE, pictures


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning")  # of executorch itself
@pytest.mark.parametrize(
    "options",
    [PRESETS["fpcn"], pytest.param(PRESETS["fpcn_gated"], marks=pytest.mark.exhaustive)],
    ids=["fpcn", "fpcn_gated"],
)
def test_a_phone_gets_the_prediction_and_its_activation_map(options: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    torch.manual_seed(0)
    deployed = DeployedNetwork(FPCN(4, SIDE, "test_resnet", pretrained=False, **options), SIDE)
    write_pte(deployed, SIDE, tmp_path / "model.pte")
    images = pictures(2)
    with torch.no_grad():
        *expected, _mask = deployed(torch.from_numpy(images))
    found = load_pte(tmp_path / "model.pte")(images)
    for values, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(values, wanted.numpy(), rtol=1e-3, atol=1e-5)
