"""Damages bundles and opens them, for as long as wanted: `python -m tests.fuzz_bundles --seconds 3600`.

Manifests, labels and graphs are changed at random: values of JSON are replaced, bytes are flipped, cut and repeated,
and nodes of the graph are exchanged. Hashes are those of the damaged files. A bundle must be refused by a UserError of
one line, or predict probabilities. Prints how often each happened, and exits with 1 after saving the bundles that ended
in another way or took longer than a minute. One that kills the process stays in `--output`/current.
"""

import argparse
import copy
import hashlib
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.manifest import CARD_NAME, LABELS_NAME, MANIFEST_NAME
from fpcn_lightning.field.model import BundleModel
from tests.field.conftest import colour_network, write_bundle

MOST_SECONDS = 60.0
LONGEST_MESSAGE = 2000  # characters
OPERATORS = ("Identity", "Loop", "If", "Expand", "ConstantOfShape", "Softmax", "Exp", "NonZero", "Tile", "")
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, 1e308, float("nan"), float("inf"), "", " ", "\x1b[2J"),
    *("x" * 5000, "=1+1", "${oc.env:HOME}", "../../model.onnx", "<script>", "\ud800", [], {}, [[]], {"a": {"b": [1]}}),
    ["red"] * 3,
)


class Outcome(NamedTuple):
    """What came of one damaged bundle.

    Attributes:
        mutation: what was damaged.
        result: refused, predicted, or the error that must not happen.
        failed: this must not happen.
    """

    mutation: str
    result: str
    failed: bool


def outcomes(seed: int, folder: Path) -> Iterator[Outcome]:
    """Endless; each bundle is written into a folder of this name, one at a time."""
    rng = np.random.default_rng(seed)
    mutations = {"manifest": _manifest, "labels": _labels, "bytes": _bytes, "graph": _graph, "card": _card}
    while True:
        for name, damage in mutations.items():
            shutil.rmtree(folder, ignore_errors=True)
            damage(folder, rng)
            yield _outcome(name, folder)


def _outcome(mutation: str, folder: Path) -> Outcome:
    began = time.monotonic()
    try:
        bundle = read_bundle(folder)
        bundle.card()
        model = BundleModel(bundle, threads=1)
        side = bundle.views.evaluation_size
        probabilities = model(np.zeros((2, side, side, 3), np.uint8)).probabilities
        finite = probabilities[np.isfinite(probabilities)]
        wrong = bool(((finite < -0.01) | (finite > 1.01)).any())
        result, failed = "wrong" if wrong else "predicted", wrong
    except UserError as error:
        lines, length = str(error).count("\n"), len(str(error))
        failed = bool(lines) or length > LONGEST_MESSAGE + len(str(folder))
        result = "a long message" if failed else "refused"
    except Exception as error:
        result, failed = f"{type(error).__name__}: {error}"[:200], True
    if time.monotonic() - began > MOST_SECONDS:
        result, failed = "slow", True
    return Outcome(mutation, result, failed)


def _whole_bundle(folder: Path, model: onnx.ModelProto | bytes | None = None) -> None:
    """A bundle with all that the manifest may have."""
    counts = {split: [4, 2, 3] for split in ("train", "val", "test")}
    write_bundle(folder, model=model or colour_network(masked=True), object_mask=True, photographs=counts)


def _manifest(folder: Path, rng: np.random.Generator) -> None:
    _whole_bundle(folder)
    path = folder / MANIFEST_NAME
    content = json.loads(path.read_text(encoding="utf-8"))
    for _ in range(rng.integers(1, 4)):
        _replace(content, rng)
    text = json.dumps(content).encode("utf-8", "surrogatepass")
    path.write_bytes(text if rng.random() < 0.8 else _flipped(text, rng))


def _labels(folder: Path, rng: np.random.Generator) -> None:
    """Other labels, with their own hash in the manifest."""
    _whole_bundle(folder)
    content = json.loads((folder / LABELS_NAME).read_text(encoding="utf-8"))
    _replace(content, rng)
    data = json.dumps(content).encode("utf-8", "surrogatepass")
    data = data if rng.random() < 0.7 else _flipped(data, rng)
    (folder / LABELS_NAME).write_bytes(data)
    manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    manifest["labels_sha256"] = hashlib.sha256(data).hexdigest()
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")


def _bytes(folder: Path, rng: np.random.Generator) -> None:
    data = _flipped(colour_network(masked=True).SerializeToString(), rng)
    _whole_bundle(folder, data or b"\0")


def _graph(folder: Path, rng: np.random.Generator) -> None:
    """Nodes of other operators, with other inputs, attributes and tensors."""
    model = colour_network(masked=True)
    for _ in range(rng.integers(1, 4)):
        node = model.graph.node[rng.integers(len(model.graph.node))]
        names = [name for each in model.graph.node for name in (*each.input, *each.output)]
        match int(rng.integers(5)):
            case 0:
                node.op_type = OPERATORS[rng.integers(len(OPERATORS))]
            case 1:
                node.input[rng.integers(len(node.input))] = names[rng.integers(len(names))]
            case 2:
                model.graph.initializer[rng.integers(len(model.graph.initializer))].dims.append(
                    int(rng.integers(2**40))
                )
            case 3:
                model.graph.node.append(copy.deepcopy(node))
            case 4:
                node.attribute.append(onnx.helper.make_attribute("axis", int(rng.integers(-(2**40), 2**40))))
    _whole_bundle(folder, model)


def _card(folder: Path, rng: np.random.Generator) -> None:
    _whole_bundle(folder)
    (folder / CARD_NAME).write_bytes(rng.bytes(int(rng.integers(5000))))


def _replace(content: Any, rng: np.random.Generator) -> None:
    """Replace, remove or add one value, at any depth."""
    while True:
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        if not keys:
            return
        key = keys[rng.integers(len(keys))]
        if not isinstance(content[key], dict | list) or not content[key] or rng.random() < 0.2:
            break
        content = content[key]
    value = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    if rng.random() < 0.1:
        del content[key]
    elif isinstance(content, dict) and rng.random() < 0.1:
        content[str(value)[:300]] = value
    else:
        content[key] = value


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, removed or repeated."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        place = int(rng.integers(len(changed))) if changed else 0
        match int(rng.integers(4)):
            case 0 | 1 if changed:
                changed[place] = int(rng.integers(256))
            case 2:
                del changed[place : place + int(rng.integers(1, 20))]
            case _:
                changed[place:place] = changed[place : place + int(rng.integers(1, 20))]
    return bytes(changed)


def main() -> int:
    """Run for the given time; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("fuzz-failures"), help="folder for bundles that failed")
    options = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    failures, end = 0, time.monotonic() + options.seconds
    current = options.output / "current"
    for outcome in outcomes(options.seed, current):
        counts[outcome.mutation, outcome.result] += 1
        if outcome.failed:
            failures += 1
            shutil.copytree(current, options.output / f"bundle-{failures:04}")
        if time.monotonic() > end:
            break
    shutil.rmtree(current)
    for (mutation, result), count in sorted(counts.items()):
        print(f"{mutation:10} {result:12} {count:7}")
    print(f"{counts.total()} bundles, {failures} failures" + (f" in {options.output}" if failures else ""))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
