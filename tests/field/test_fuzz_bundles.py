"""The short form of `python -m tests.fuzz_bundles`."""

from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz_bundles import outcomes


@pytest.mark.parametrize("seed", [1, 2])
def test_a_damaged_bundle_is_refused_or_predicts(seed: int, tmp_path: Path) -> None:
    found = list(islice(outcomes(seed, tmp_path / "bundle"), 60))
    assert [each for each in found if each.failed] == []
    assert {each.result for each in found} == {"refused", "predicted"}
