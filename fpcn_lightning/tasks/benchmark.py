"""`task=benchmark`: what this machine does, and how long a training will take."""

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpcn_lightning import build
from fpcn_lightning.config import Config, Target
from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.runs.folders import benchmark_folder
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.tasks.libraries import prepare_libraries

if TYPE_CHECKING:
    from fpcn_lightning.data.datamodule import RockDataModule
    from fpcn_lightning.models.network import Network
    from fpcn_lightning.profiling.benchmark_files import Benchmark
    from fpcn_lightning.profiling.results import BenchmarkRow
    from fpcn_lightning.profiling.steps import ComparedStep

PARTS = ("loader", "step", "shares", "inference", "start", "plan")
VARIANTS = ("allocator", "frozen", "bf16", "compile")
BARE = "bare backbone"
FROZEN_SHARE = 0.5  # of the stages, of the row of frozen stages
INFERENCE_ROUNDS = 5  # images of inference for each round of the benchmark: they take milliseconds


def run(config: Config, invocation: Invocation) -> None:
    """Measure the parts `benchmark.parts` for the configured network, the plain one, and their bare backbone.

    Raises:
        UserError: a value of the section `benchmark` is invalid, or images or networks cannot be used.
    """
    from fpcn_lightning.profiling.benchmark_files import write_benchmark
    from fpcn_lightning.profiling.results import as_table
    from fpcn_lightning.report.text_table import to_markdown

    _check(config)
    prepare_libraries()
    measured = _measured(config, invocation)
    folder = benchmark_folder(Path(config.output), config.variant, config.model.get("backbone"))
    page = write_benchmark(measured, folder)
    print(to_markdown(as_table(measured.rows)))
    for sentence in (measured.machine, *measured.verdict):
        print(f"- {sentence}")
    print(f"benchmark: {page}")


def _check(config: Config) -> None:
    options = config.benchmark
    for key, values, choices in (("parts", options.parts, PARTS), ("variants", options.variants, VARIANTS)):
        for value in values:
            check_choice(f"benchmark.{key}", value, choices)
    minima = (("rounds", options.rounds, 1), ("threads", options.threads, 1), ("photographs", options.photographs, 4))
    for key, number, least in minima:
        if number is not None and number < least:
            raise UserError(f"benchmark.{key}={number} must be at least {least}.")
    if config.data.tiles and "loader" in options.parts:
        raise UserError("the part loader measures squares: set data.tiles=false, or leave it out of benchmark.parts.")


def _measured(config: Config, invocation: Invocation) -> "Benchmark":
    import torch

    from fpcn_lightning.profiling.benchmark_files import Benchmark
    from fpcn_lightning.profiling.processor import load_of_core, processor
    from fpcn_lightning.profiling.step_forms import without_weights
    from fpcn_lightning.runs.provenance import code_of_package, versions_of
    from fpcn_lightning.tasks.budget import device_of

    config = replace(config, model=without_weights(config.model))
    data = build.datamodule(config.data, config.seed)
    data.prepare_data()
    machine, code = processor(), code_of_package()
    count, device = config.benchmark.threads or torch.get_num_threads(), device_of(config)
    load = load_of_core()
    rows: list[BenchmarkRow] = []
    for part in config.benchmark.parts:
        print(f"measuring {part} ...", flush=True)
        rows += _MEASURE[part](_Bench(config, invocation, data, device, count))
    name = torch.cuda.get_device_name() if device.type == "cuda" else machine.text
    sentence = f"{name}; {count} threads; torch {torch.__version__}; fpcn_lightning {code['version']}"
    sentence += f", commit {code['commit'][:12]}{' with changes' if code['dirty'] else ''}" if code["commit"] else ""
    facts = {
        "network": _title(config),
        "processor": asdict(machine),
        "device": device.type,
        "threads": count,
        "load_of_core": load,
        "rounds": config.benchmark.rounds,
        "code": dict(code),
        "packages": versions_of(("torch", "torchvision", "timm", "lightning", "onnxruntime", "numpy", "pillow")),
        "image_size": config.data.crop,
        "batch": _batch_size(data),
    }
    return Benchmark(rows, f"{sentence}.", facts)


@dataclass(frozen=True)
class _Bench:
    """What every part needs."""

    config: Config
    invocation: Invocation
    data: "RockDataModule"
    device: Any
    threads: int

    @property
    def networks(self) -> dict[str, tuple[Target, dict[str, Target]]]:
        """The sections `model` and `loss` of the plain and the configured network, by name."""
        from fpcn_lightning.profiling.step_forms import CLASSIFICATION, plain_of

        configured = {self.config.variant: (self.config.model, self.config.loss)}
        plain = plain_of(self.config.model)
        return configured if plain is None else {"plain": (plain, dict(CLASSIFICATION)), **configured}

    def network(self, model: Target) -> "Network":
        """A network of random weights."""
        from fpcn_lightning.profiling.step_forms import deployed_network

        return deployed_network(model, len(self.data.classes), self.config.data.crop)


def _loader(bench: _Bench) -> Iterator["BenchmarkRow"]:
    from fpcn_lightning.profiling.loading import measure_loading, sampled

    options = bench.config.benchmark
    return measure_loading(bench.config.data, sampled(bench.data, options.photographs), options.rounds)


def _step(bench: _Bench) -> Iterator["BenchmarkRow"]:
    from fpcn_lightning.profiling.steps import measure_steps

    return measure_steps(_steps(bench), bench.config.benchmark.rounds, bench.threads)


def _steps(bench: _Bench) -> dict[str, "ComparedStep"]:
    """Steps of the bare backbone, the plain and the configured network, each with the one before; then its variants."""
    from fpcn_lightning.profiling.step_forms import StepForm
    from fpcn_lightning.profiling.steps import ComparedStep

    samples, classes = bench.data.batch_shape()
    backbone = bench.config.model.get("backbone")
    bare = StepForm(None, {}, backbone, classes, samples, bench.config.data.crop, bench.device.type)
    steps = {} if backbone is None else {BARE: ComparedStep(bare)}
    for name, (model, loss) in bench.networks.items():
        steps[name] = ComparedStep(replace(bare, model=model, loss=loss), reference=next(reversed(steps), None))
    last, variants = next(reversed(steps)), bench.config.benchmark.variants
    form = steps[last].form
    changed = {
        "bf16": replace(form, precision="bf16"),
        "compile": replace(form, compiled=True),
        "frozen": replace(form, frozen_share=FROZEN_SHARE),
    }
    for variant in variants:
        if variant == "allocator" and bench.device.type == "cpu":
            steps[f"{last}, memory not kept"] = ComparedStep(form, last, keep_memory=False)
        elif variant in changed:
            steps[f"{last}, {variant}"] = ComparedStep(changed[variant], last)
    return steps


def _shares(bench: _Bench) -> Iterator["BenchmarkRow"]:
    from torch import nn

    from fpcn_lightning.profiling.shares import measure_shares

    counts, rounds = bench.data.class_counts().tolist(), bench.config.benchmark.rounds
    for name, (model, loss) in bench.networks.items():
        network = bench.network(model)
        terms = nn.ModuleDict(build.loss_terms(loss, counts, network.feature_dim))
        yield from measure_shares(
            name, network, terms, bench.data, device=bench.device, rounds=rounds, count=bench.threads
        )


def _inference(bench: _Bench) -> Iterator["BenchmarkRow"]:
    from fpcn_lightning.cores import usable_cores
    from fpcn_lightning.profiling.inference import measure_inference

    config = bench.config
    counts = sorted({1, min(2, usable_cores())})
    rounds = INFERENCE_ROUNDS * config.benchmark.rounds
    with tempfile.TemporaryDirectory() as folder:
        network = bench.network(config.model)
        size = bench.data.augmentation.evaluation_size
        yield from measure_inference(config.variant, network, size, rounds, counts, Path(folder), config.export.opset)


def _start(bench: _Bench) -> Iterator["BenchmarkRow"]:
    from fpcn_lightning.profiling.starts import measure_starts

    words = [word for word in bench.invocation.overrides if not word.startswith(("task=", "benchmark.", "output="))]
    words += [] if any(word.startswith("recipe=") for word in words) else ["recipe=small"]
    return measure_starts([*words, "pretrained=false"], bench.config.benchmark.rounds)


def _plan(bench: _Bench) -> Iterator["BenchmarkRow"]:
    """The configured training, by the measurements of `training.budget`."""
    from fpcn_lightning.modules.assembly import make_module, make_network
    from fpcn_lightning.profiling.results import BenchmarkRow
    from fpcn_lightning.profiling.rounds import spread, threads
    from fpcn_lightning.tasks.budget import expected_seconds, measure_times, planned

    config, data = bench.config, bench.data
    module = make_module(config, make_network(config, data), data)
    with threads(bench.threads):
        times = [measure_times(config, module, data) for _ in range(min(3, config.benchmark.rounds))]
    plan = planned(config, data, times[0])
    minutes = [expected_seconds(plan, each) / 60 for each in times]
    steps = f"{plan.epochs} epochs of {plan.steps} steps, images in the cache"
    yield BenchmarkRow("plan", f"training of {_title(config)}", "minutes", spread(minutes), note=steps)
    yield BenchmarkRow("plan", "validation of an epoch", "s", spread([each.validation for each in times]))


_MEASURE = {
    "loader": _loader,
    "step": _step,
    "shares": _shares,
    "inference": _inference,
    "start": _start,
    "plan": _plan,
}


def _title(config: Config) -> str:
    backbone = config.model.get("backbone")
    return config.variant if backbone is None else f"{config.variant} on {backbone}"


def _batch_size(data: "RockDataModule") -> int:
    samples, classes = data.batch_shape()
    return samples * classes
