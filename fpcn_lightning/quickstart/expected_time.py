"""How long `fpcn train` takes on this machine, from a few seconds of measuring before it begins."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpcn_lightning.config import Config, DataConfig
from fpcn_lightning.data.images import ImageReader, UnreadableImage
from fpcn_lightning.data.index import ListedFile
from fpcn_lightning.data.preparation import image_limits, known_digests, make_augmentation
from fpcn_lightning.data.scan import reading_processes
from fpcn_lightning.errors import UserError
from fpcn_lightning.quickstart import configs
from fpcn_lightning.quickstart.options import TrainOptions
from fpcn_lightning.quickstart.photographs import PhotographFacts

if TYPE_CHECKING:
    from fpcn_lightning.models.weights import NotDownloaded

SAMPLE = 6  # photographs that are decoded; the first also starts the process that decodes, and is not counted
NETWORKS_OF_EXPORT = 3  # PyTorch, ONNX in float32 and in int8 predict the validation and test photographs
SECONDS_OF_WRITING = 30.0  # of tracing and quantising a network, which depend on no photographs


@dataclass(frozen=True)
class ExpectedTime:
    """Seconds of the parts of the command.

    Attributes:
        reading: all photographs once.
        probe: the features of all photographs.
        training: all trainings, with their validations and tests.
        export: writing the model, and measuring it.
    """

    reading: float
    probe: float
    training: float
    export: float

    @property
    def seconds(self) -> float:
        """Of the whole command."""
        return self.reading + self.probe + self.training + self.export

    @property
    def text(self) -> str:
        """As printed."""
        parts = [("reading", self.reading), ("linear probe", self.probe), ("training", self.training)]
        named = [f"{name} {duration_text(part)}" for name, part in [*parts, ("export", self.export)] if part]
        return f"Expected time, measured on this machine: about {duration_text(self.seconds)} ({', '.join(named)})."


def duration_text(seconds: float) -> str:
    """A duration to read: seconds below two minutes, hours from two on."""
    if seconds >= 7200:
        return f"{seconds / 3600:,.1f} hours"
    size, unit = (60, "minute") if seconds >= 120 else (1, "second")
    number = max(1, round(seconds / size))
    return f"{number} {unit}{'' if number == 1 else 's'}"


def seconds_of_reading(found: Sequence[ListedFile], config: DataConfig) -> float:
    """How long it takes to read the photographs that are not in the cache, from a few of them."""
    known = known_digests(config, found)
    unread = [file for file in found if file.name not in known]
    if not unread:
        return 0.0
    seconds = []
    shape = make_augmentation(config).square
    with ImageReader(image_limits(config)) as reader:
        count = min(SAMPLE, len(unread))
        for place in range(count):
            began = time.perf_counter()
            with contextlib.suppress(UnreadableImage):  # which takes its time, too
                reader.read(unread[place * len(unread) // count].path, shape)
            seconds.append(time.perf_counter() - began)
    counted = seconds[1:] or seconds
    return sum(counted) / len(counted) * len(unread) / reading_processes(len(unread))


def expected_time(options: TrainOptions, facts: PhotographFacts, validation: float, reading: float) -> ExpectedTime:
    """Measure steps and views of each network.

    Args:
        options: of the command.
        facts: about the photographs.
        validation: share of the photographs.
        reading: seconds that the photographs took to read.

    Raises:
        UserError: the pretrained weights of a network cannot be downloaded.
    """
    import torch

    from fpcn_lightning.models.weights import NotDownloaded

    gpu = torch.cuda.is_available()
    training, view, rows = 0.0, 0.0, 1
    for network in configs.networks(options):
        try:
            measured = _measure(configs.training(options, network, validation, gpu=gpu).config, trained=network.trained)
        except NotDownloaded as error:
            raise UserError(_without_weights(options, network.title, error)) from error
        view, rows = max(view, measured.view), max(rows, measured.rows)
        training += measured.training + network.trained * facts.counts.test * measured.view * measured.rows
    tested = (facts.counts.val + facts.counts.test) * rows * view
    return ExpectedTime(
        reading=reading,
        probe=facts.counts.total * rows * view,
        training=training,
        export=SECONDS_OF_WRITING + NETWORKS_OF_EXPORT * tested,
    )


def _without_weights(options: TrainOptions, title: str, error: "NotDownloaded") -> str:
    other = ", or leave out --paper" if options.paper else ""
    return (
        f"{title} starts from the pretrained weights of {error.backbone}, which cannot be downloaded ({error.reason}): "
        "run the same command once where there is a network, which keeps them in ~/.cache/huggingface, or copy that "
        f"folder from a computer that has them{other}."
    )


@dataclass(frozen=True)
class _Measured:
    """Of one network: seconds of its training and of one view, and views of each photograph."""

    training: float
    view: float
    rows: int


def _measure(config: Config, *, trained: bool) -> _Measured:
    from fpcn_lightning import build
    from fpcn_lightning.modules.assembly import make_module, make_network
    from fpcn_lightning.tasks.budget import expected_seconds, measure_times, planned, seconds_of_view
    from fpcn_lightning.tasks.libraries import prepare_libraries
    from fpcn_lightning.tasks.memory_check import check_memory

    prepare_libraries()
    data = build.datamodule(config.data, config.seed)
    data.prepare_data()
    network, rows = make_network(config, data), data.pictures.rows_a_picture
    if not trained:
        return _Measured(0.0, seconds_of_view(config, network, data), rows)
    check_memory(config, network, data)
    times = measure_times(config, make_module(config, network, data), data)
    return _Measured(expected_seconds(planned(config, data, times), times), times.view, rows)
