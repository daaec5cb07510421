"""Where the numbers of a page come from: code, machine, data and packages of its runs, and their config."""

import json
from collections.abc import Iterable, Sequence

from fpcn_lightning.report.formats import NOT_KNOWN
from fpcn_lightning.runs.results import Result
from fpcn_lightning.runs.sameness import flatten

ABSENT = "absent"


def facts(results: Sequence[Result]) -> dict[str, list[str]]:
    """Code, machine, data and packages of the runs: every distinct value of what should be the same in all of them."""
    packages = {name for result in results for name in result["packages"]}
    found = {
        "commit": [_commit(result) for result in results],
        "device": [result["device"] or NOT_KNOWN for result in results],
        "split": [_split(result) for result in results if result["data"]],
        "pretrained weights": [result["network"]["weights"] for result in results if result["network"]],
        "fpcn_lightning": [result["code"]["version"] for result in results],
        **{name: [result["packages"].get(name, NOT_KNOWN) for result in results] for name in sorted(packages)},
    }
    return {name: list(dict.fromkeys(values)) for name, values in found.items() if values}


def shared_config(results: Iterable[Result]) -> dict[str, str]:
    """The config keys that have the same value in every run."""
    configs = [flatten(result["config"]) for result in results]
    keys = sorted({key for config in configs for key in config})
    values = {key: {config_text(config.get(key, ABSENT)) for config in configs} for key in keys}
    return {key: next(iter(found)) for key, found in values.items() if len(found) == 1}


def config_text(value: object) -> str:
    """The value of a config key as a cell."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _commit(result: Result) -> str:
    code = result["code"]
    return (code["commit"] or "no commit") + (" with uncommitted changes" if code["dirty"] else "")


def _split(result: Result) -> str:
    if not result["data"]:
        return NOT_KNOWN
    counts = ", ".join(f"{number:,} {split}" for split, number in result["data"]["images"].items())
    return f"{result['data']['fingerprint']}: {counts}, {len(result['data']['classes'])} classes"
