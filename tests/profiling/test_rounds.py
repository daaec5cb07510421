"""What is measured side by side is measured in turns, and its spread is that of the rounds."""

from types import SimpleNamespace

import pytest
import torch

from fpcn_lightning.profiling import rounds
from fpcn_lightning.profiling.rounds import Spread, interleaved, ratios, spread, threads


def test_forms_take_turns_and_warm_up_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    now = [0.0]

    def costs(name: str, *seconds: float) -> object:
        left = iter(seconds)

        def run() -> None:
            called.append(name)
            now[0] += next(left)

        return run

    monkeypatch.setattr(rounds, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    forms = {"a": costs("a", 9, 1, 2), "b": costs("b", 8, 3, 4)}
    assert interleaved(forms, rounds=2) == {"a": [1, 2], "b": [3, 4]}  # type: ignore[arg-type]
    assert called == ["a", "b"] * 3


def test_the_spread_is_median_and_quartiles() -> None:
    assert spread([5.0, 1.0, 2.0, 3.0, 4.0]) == Spread(3.0, 2.0, 4.0)
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0)


def test_a_ratio_is_taken_within_each_round() -> None:
    # Every round is twice as slow as the one before; the ratio of the two is the same in each.
    assert ratios([1.0, 2.0, 4.0], [2.0, 4.0, 8.0]) == Spread(0.5, 0.5, 0.5)


def test_threads_are_restored_after_an_error() -> None:
    before = torch.get_num_threads()
    with threads(before + 2):
        assert torch.get_num_threads() == before + 2
    with pytest.raises(ValueError, match="wrong"), threads(before + 2):
        raise ValueError("wrong")
    assert torch.get_num_threads() == before
