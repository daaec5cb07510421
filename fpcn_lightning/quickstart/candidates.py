"""The networks that `fpcn train` has tried, and which of them is the best."""

from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.quickstart.configs import TriedNetwork
from fpcn_lightning.runs.results import Metrics, Result


@dataclass(frozen=True)
class Candidate:
    """A network that was tried.

    Attributes:
        network: what it is.
        folder: of its run.
        result: of its run.
    """

    network: TriedNetwork
    folder: Path
    result: Result

    def metrics(self, split: str) -> Metrics:
        """Of a split (val, test), under the inference mode of the run."""
        measured, mode = self.result["metrics"], self.result["inference_mode"]
        assert measured is not None  # the run is finished
        assert mode is not None
        return measured["val"][mode] if split == "val" else measured["test"][mode]

    @property
    def ended_as_probe(self) -> bool:
        """Whether no epoch of a training was better than the linear probe, which is then its result."""
        probe = self.result.get("probe")
        return self.network.trained and probe is not None and probe["chosen"]


def best(candidates: list[Candidate]) -> Candidate:
    """The network with the highest accuracy on the validation photographs.

    Of equal ones a trained network comes before the linear probe, and an earlier before a later one. A training that
    ended with the weights of the probe is none of its own.
    """
    own = [each for each in candidates if not each.ended_as_probe]
    return max(
        sorted(own, key=lambda each: not each.network.trained),
        key=lambda each: each.metrics("val")["accuracy"],
    )
