"""Which runs trained a student alone, without the teacher that another run of it had."""

from collections.abc import Iterable, Mapping

from fpcn_lightning.runs.results import Metrics, Result, Run
from fpcn_lightning.runs.sameness import decisive

# What a teacher adds to the config: its section, and the weight that the labels keep beside it.
_OF_TEACHING = ("distillation", "loss.classification.weight")


def student_of(config: Mapping[str, object]) -> dict[str, object]:
    """What a student is without its teacher and its seed: the keys that decide a result, dotted, without those."""
    return {
        key: value
        for key, value in decisive(config).items()
        if key not in ("seed", *_OF_TEACHING) and not key.startswith("distillation.")
    }


def is_taught(config: Mapping[str, object]) -> bool:
    """Whether a run has a teacher."""
    return config.get("distillation") is not None


def runs_alone(runs: Iterable[Run], taught: Result) -> list[Result]:
    """The finished runs that trained the student of another run, on the same split, without a teacher."""
    wanted, data = student_of(taught["config"]), taught["data"]
    return [
        result
        for _, result in runs
        if result["status"] == "finished"
        and not is_taught(result["config"])
        and (data is None or (result["data"] is not None and result["data"]["fingerprint"] == data["fingerprint"]))
        and student_of(result["config"]) == wanted
    ]


def validation_metrics(result: Result) -> Metrics | None:
    """The metrics on the validation split in the configured inference mode, if there are any."""
    mode = result["inference_mode"]
    return None if result["metrics"] is None or mode is None else result["metrics"]["val"].get(mode)
