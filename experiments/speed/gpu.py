"""The rows of a GPU: our training, plain and FPCN, against a training loop as in timm's own script, and the loader.

    sh experiments/speed/gpu.sh [--output FOLDER] [--seconds 450]
    sh experiments/speed/gpu.sh --device cpu --tiny          tiny sizes, to see that it works

ResNet-50 and ResNet-101, 448 px, 42 images, mixed precision (bf16), channels last, compiled. Blocks of steps take
turns, round by round: a plain loop of timm's model with cross-entropy and SGD; and Lightning's Trainer with this
package's module and its check of the loss, as `trainer=gpu` has it. Batches are on the GPU already; the loader has a
row of its own. It imports nothing that needs Hydra, OmegaConf, W&B or grad-cam.
"""

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader

from fpcn_lightning.callbacks.finite_training import FiniteTraining
from fpcn_lightning.config import CONF, DataConfig, SyntheticConfig
from fpcn_lightning.cores import usable_cores
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.library_warnings import quiet_libraries
from fpcn_lightning.losses.classification import ClassificationTerm
from fpcn_lightning.losses.own import OwnTerm
from fpcn_lightning.losses.supervised_contrastive import SupervisedContrastiveTerm
from fpcn_lightning.losses.term import LossTerm
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.plain import Plain
from fpcn_lightning.modules.checkpoints import CheckpointRecord
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.modules.optimisation import Optimisation
from fpcn_lightning.profiling.processor import processor
from fpcn_lightning.profiling.results import BenchmarkRow, as_table, missing
from fpcn_lightning.profiling.rounds import ratios, spread
from fpcn_lightning.profiling.step_forms import bare_step, random_batch, sgd
from fpcn_lightning.profiling.step_time import TrainingStep, synchronize
from fpcn_lightning.report.text_table import to_markdown
from fpcn_lightning.runs.provenance import code_of_package, versions_of

TIMM, PLAIN, FPCN_NAME = "timm loop", "plain", "fpcn"
REFERENCES = {PLAIN: TIMM, FPCN_NAME: TIMM, f"{FPCN_NAME} over plain": PLAIN}
RATE, MEMORY = "images/s", "GB"
CLASSES = 3
PACKAGES = ("torch", "torchvision", "timm", "lightning", "torchmetrics")


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes:
        backbones: names of timm.
        size: height and width of the images, pixels.
        per_class: images of each of three classes in a batch.
        steps: of a block.
        rounds: of blocks.
        compiled: by `torch.compile`.
        images_per_class: that the loader reads.
    """

    backbones: tuple[str, ...] = ("resnet50", "resnet101")
    size: int = 448
    per_class: int = 14
    steps: int = 20
    rounds: int = 5
    compiled: bool = True
    images_per_class: int = 28


TINY = Sizes(("test_resnet",), size=64, per_class=2, steps=2, rounds=1, compiled=False, images_per_class=6)


class BlockClock(lightning.Callback):
    """Seconds of the steps of a block after the first one, in which the Trainer gets ready."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, 0.0
        self._began = 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Start after the first step."""
        if trainer.global_step == 1:
            synchronize(self.device)
            self._began = time.perf_counter()

    def on_train_end(self, *_: Any) -> None:
        """Stop."""
        synchronize(self.device)
        self.seconds = time.perf_counter() - self._began


class WithoutWaiting(Classifier):
    """Raises an error where its training step waits for the GPU."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The step, in which every synchronisation is an error."""
        torch.cuda.set_sync_debug_mode("error")
        try:
            return super().training_step(batch, batch_idx)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def networks(backbone: str, size: int) -> dict[str, tuple[Network, dict[str, LossTerm]]]:
    """Both networks with random weights, and the terms of their loss, as `conf/model` has them."""
    section = yaml.safe_load((CONF / "model" / "fpcn.yaml").read_text(encoding="utf-8"))["model"]
    given = ("_target_", "backbone", "pretrained", "weights")
    options = {key: value for key, value in section.items() if key not in given}
    plain = Plain(CLASSES, size, backbone, pretrained=False)
    fpcn = FPCN(CLASSES, size, backbone, pretrained=False, **options)
    return {
        PLAIN: (plain, {"classification": ClassificationTerm(1.0)}),
        FPCN_NAME: (fpcn, {"own": OwnTerm(1.0), "supervised_contrastive": SupervisedContrastiveTerm(1.0)}),
    }


def module_of(
    network: Network, terms: dict[str, LossTerm], size: int, kind: type[Classifier] = Classifier
) -> Classifier:
    """The Lightning module of a network."""
    record = CheckpointRecord([str(number) for number in range(CLASSES)], "", {}, DataConfig(), 0, "speed", "speed")
    optimisation = Optimisation(sgd)  # type: ignore[arg-type]  # an optimiser of parameter groups is one of parameters
    return kind(network, terms=terms, optimisation=optimisation, seed=0, image_size=size, record=record)


def fit(module: Classifier, batch: Batch, steps: int, device: torch.device) -> float:
    """Seconds of a step, in a block of steps through Lightning's Trainer with the settings of `trainer=gpu`."""
    clock = BlockClock(device)
    trainer = lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed",
        benchmark=True,
        max_steps=steps + 1,
        max_epochs=-1,
        callbacks=[FiniteTraining(), clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
    )
    trainer.fit(module, DataLoader([batch] * (steps + 1), batch_size=None))  # type: ignore[arg-type]
    return clock.seconds / steps


def loop(step: TrainingStep, steps: int) -> float:
    """Seconds of a step, in a block of steps of a plain loop."""
    step()
    began = time.perf_counter()
    for _ in range(steps):
        step.backward(step.forward())
        step.optimise()
    synchronize(step.device)
    return (time.perf_counter() - began) / steps


def measure(backbone: str, sizes: Sizes, device: torch.device, deadline: float) -> Iterator[BenchmarkRow]:
    """Rows of one backbone."""
    batch = Batch(*(part.to(device) for part in random_batch(CLASSES, sizes.per_class, sizes.size)))
    before = allocated(device)
    blocks = blocks_of(backbone, batch, sizes, device)
    seconds: dict[str, list[float]] = {name: [] for name in blocks}
    memory: dict[str, float] = {}
    for number in range(1 + sizes.rounds):  # the first one compiles
        for name, block in list(blocks.items()):
            if number and time.monotonic() > deadline:
                continue
            try:
                # Lightning leaves a module on the host; the model of the plain loop stays on the GPU.
                taken, used = with_memory(block, device, before if name == TIMM else None)
            except Exception as error:
                yield missing(backbone, name, RATE, f"{type(error).__name__}: {str(error).splitlines()[0]}"[:200])
                del blocks[name]
                continue
            memory |= {} if used is None else {name: used}
            seconds[name] += [taken] if number else []
    yield from rows(backbone, {name: seconds[name] for name in blocks}, memory, len(batch.labels))


def blocks_of(backbone: str, batch: Batch, sizes: Sizes, device: torch.device) -> dict[str, Callable[[], float]]:
    """What takes turns: blocks of steps, each returns the seconds of a step."""
    step, made = bare_step(backbone, batch, CLASSES, device, "bf16"), networks(backbone, sizes.size)
    if sizes.compiled:
        step.module.compile()
        for network, _ in made.values():
            network.trunk.compile()
    blocks: dict[str, Callable[[], float]] = {TIMM: partial(loop, step, sizes.steps)}
    for name, (network, terms) in made.items():
        blocks[name] = partial(fit, module_of(network, terms, sizes.size), batch, sizes.steps, device)
    return blocks


def with_memory(block: Callable[[], float], device: torch.device, before: int | None) -> tuple[float, float | None]:
    """The seconds of a block, and the GB of GPU memory that it took more than `before`, or than was in use."""
    gc.collect()
    base = allocated(device) if before is None else before
    if device.type != "cuda":
        return block(), None
    torch.cuda.reset_peak_memory_stats()
    seconds = block()
    return seconds, (torch.cuda.max_memory_allocated() - base) / 1e9


def allocated(device: torch.device) -> int:
    """Bytes of tensors on the GPU."""
    return torch.cuda.memory_allocated() if device.type == "cuda" else 0


def rows(
    backbone: str, seconds: dict[str, list[float]], memory: dict[str, float], images: int
) -> Iterator[BenchmarkRow]:
    """Rates, memory, and their ratios."""
    for name, values in seconds.items():
        if not values:
            yield missing(backbone, name, RATE, "no time was left")
            continue
        yield BenchmarkRow(backbone, name, RATE, spread([images / each for each in values]))
    for name, reference in REFERENCES.items():
        own, other = name.split(" over ")[0], seconds.get(reference, [])
        count = min(len(seconds.get(own, [])), len(other))
        if count:
            rate = ratios(other[:count], seconds[own][:count])
            yield BenchmarkRow(backbone, f"{name}: images/s", "ratio", rate, rate, reference)
        if own in memory and reference in memory:
            used = spread([memory[own] / memory[reference]])
            yield BenchmarkRow(backbone, f"{name}: peak memory", "ratio", used, used, reference)
    for name, used_gb in memory.items():
        yield BenchmarkRow(backbone, f"{name}: peak memory", MEMORY, spread([used_gb]))


def waits(backbone: str, sizes: Sizes, device: torch.device) -> Iterator[BenchmarkRow]:
    """Whether a training step waits for the GPU."""
    part, what, unit = backbone, "synchronisations in training_step", "found"
    batch = Batch(*(each.to(device) for each in random_batch(CLASSES, sizes.per_class, sizes.size)))
    for name, (network, terms) in networks(backbone, sizes.size).items():
        if device.type != "cuda":
            yield missing(part, f"{name}: {what}", unit, "needs a GPU")
            continue
        try:
            fit(module_of(network, terms, sizes.size, WithoutWaiting), batch, 3, device)
            yield BenchmarkRow(part, f"{name}: {what}", unit, spread([0.0]))
        except RuntimeError as error:
            yield BenchmarkRow(part, f"{name}: {what}", unit, spread([1.0]), note=str(error).splitlines()[0])


def loading(sizes: Sizes, folder: Path) -> BenchmarkRow:
    """Images per second of the loader with workers, from the cache."""
    resize = sizes.size * 8 // 7
    synthetic = SyntheticConfig(images_per_class=sizes.images_per_class, size=resize)
    workers = 0 if sizes.size < 100 else min(8, usable_cores())
    config = DataConfig(synthetic=synthetic, resize=resize, crop=sizes.size, samples_per_class=sizes.per_class)
    before = Path.cwd()
    os.chdir(folder)  # images are drawn into data/ of the working folder
    try:
        data = RockDataModule(replace(config, workers=workers, epoch_length=4 * sizes.steps))
        data.config.cache.directory = str(folder / "cache")
        data.setup()
        count, began = 0, 0.0
        for number, batch in enumerate(data.train_dataloader()):
            if number == sizes.steps:  # after the batches that workers had ready
                began = time.perf_counter()
            count += len(batch.labels) if number > sizes.steps else 0
        rate = count / (time.perf_counter() - began)
    finally:
        os.chdir(before)
    return BenchmarkRow("loader", f"cached, {workers} workers", RATE, spread([rate]))


def all_rows(sizes: Sizes, device: torch.device, seconds: float) -> Iterator[BenchmarkRow]:
    """Every row, the most important ones first."""
    began, rates = time.monotonic(), []
    for number, backbone in enumerate(sizes.backbones, 1):
        deadline = began + 0.8 * seconds * number / len(sizes.backbones)
        for row in measure(backbone, sizes, device, deadline):
            yield row
            rates += [row.value.median] if row.unit == RATE and row.value is not None else []
        if device.type == "cuda":
            torch.cuda.empty_cache()
    for backbone in sizes.backbones[:1]:
        yield from waits(backbone, sizes, device)
    with tempfile.TemporaryDirectory() as folder:
        loaded = loading(sizes, Path(folder))
    yield loaded
    if rates and loaded.value is not None:
        demand = spread([loaded.value.median / max(rates)])
        yield BenchmarkRow("loader", "over the fastest training", "ratio", demand, demand, "training")


def not_measured(sizes: Sizes) -> Iterator[BenchmarkRow]:
    """The rows of a machine without a GPU."""
    for backbone in sizes.backbones:
        for name in (TIMM, PLAIN, FPCN_NAME):
            yield missing(backbone, name, RATE, "no GPU")


def write(rows_: list[BenchmarkRow], facts: dict[str, Any], folder: Path) -> None:
    """Write what is known so far."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {**facts, "rows": [row.plain() for row in rows_]}
    (folder / "gpu.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "gpu.md").write_text(to_markdown(as_table(rows_)), encoding="utf-8")


def main() -> None:
    """Measure, and write after each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seconds", type=float, default=450.0, help="no block begins later than 0.8 times this")
    chosen = parser.parse_args()
    quiet_libraries()
    torch.manual_seed(0)
    sizes, device = TINY if chosen.tiny else Sizes(), torch.device(chosen.device)
    found = device.type == "cpu" or torch.cuda.is_available()
    facts = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else processor().text,
        "code": dict(code_of_package()),
        "packages": versions_of(PACKAGES),
        "sizes": asdict(sizes),
    }
    measured: list[BenchmarkRow] = []
    for row in all_rows(sizes, device, chosen.seconds) if found else not_measured(sizes):
        measured.append(row)
        write(measured, facts, chosen.output)
    print(to_markdown(as_table(measured)))


if __name__ == "__main__":
    main()
