"""The schema of the config: every key that a yaml file or the command line may set, with its type and its meaning.

Hydra merges `conf/config.yaml` into these dataclasses, so a misspelt key or a seed that is no integer is an error
before anything is built. What is built by `_target_` (network, trainer, loggers, callbacks) is checked against the
signature of its class when it is built, in `fpcn_lightning.build`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

PACKAGE = Path(__file__).resolve().parent
# In a checkout `conf/` lies beside the package, in a wheel inside it; a relative path fails under `python -m`.
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"


@dataclass
class PublishedSplit:
    """A split that came with the data: the folder below `data.root` in which the class folders of a side lie."""

    train: str | None = None
    validation: str | None = None
    test: str | None = None


@dataclass
class SplitConfig:
    """Which pictures train, which choose, which are looked at once."""

    validation: float = 0.15  # share of all pictures, 0..1
    test: float = 0.20  # share of all pictures, 0..1
    seed: int = 0  # not the run's seed: runs that differ in the seed must share their test set
    published: PublishedSplit = field(default_factory=PublishedSplit)
    file: str | None = None  # the split.csv of another run, perhaps edited, instead of a new split


@dataclass
class CacheConfig:
    """Pictures decoded and resized once, then read from a memory map."""

    enabled: bool = True
    max_gigabytes: float = 8.0  # pictures beyond this are decoded anew each time
    directory: str | None = None  # null: $XDG_CACHE_HOME/fpcn_lightning or ~/.cache/fpcn_lightning


@dataclass
class SyntheticConfig:
    """The embedded example sets (`fpcn_lightning.data.synthetic.dataset`)."""

    kind: str = "rocks"  # rocks | minerals | sections
    images_per_class: int = 200
    size: int = 224  # pixels
    seed: int = 0
    shortcut: bool = False  # of rocks: ties the background to the label in training and validation, not in test
    bits: int = 8  # of minerals: 8 | 16 a channel


@dataclass
class DataConfig:
    """Pictures in, balanced batches out."""

    root: str | None = None  # folder of class folders, or a CSV with path,label[,group][,split][,mask]
    synthetic: SyntheticConfig | None = None  # draw the example set instead of reading `root`
    split: SplitConfig = field(default_factory=SplitConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    resize: int = 512  # pixels, both sides: the papers squash; without a meaning under `tiles`
    tiles: bool = False  # do not squash: cut tiles, a random one in training, a grid that votes otherwise
    tile_scale: float = 1.0  # pictures are shrunk or enlarged by this factor before tiles are cut
    most_tiles: int = 16  # of one picture in validation and test
    crop: int = 448  # pixels, both sides: random in training, centred otherwise
    evaluation_crop: int | None = None  # pixels, both sides, in validation and test; null: as `crop`
    random_crop: bool = True
    horizontal_flip: float = 0.5  # probability
    view_seed: int | None = None  # of the views; null: the run's. Runs that share one can share a teacher's answers
    brightness: float = 0.0  # times a factor from 1 - brightness to 1 + brightness, in training
    contrast: float = 0.0  # likewise, about the view's mean grey
    samples_per_class: int = 14  # of every class in every batch of one process
    epoch_length: str | int = "published"  # steps: published | longest_class | a number
    evaluation_batch_size: int = 32  # views; a step holds all tiles of a picture, even if they are more
    workers: int = 0  # loader processes; changes nothing but speed
    max_unreadable_share: float = 0.05  # of all files; above it the run stops
    conflicting_labels: str = "refuse"  # refuse | keep, for one picture under two labels


@dataclass
class LossConfig:
    """Weights of the terms of the total loss (FPCN, equation 12) and the readings of the centre loss."""

    classification: float = 1.0
    ranking: float = 0.0
    ranking_margin: float = 0.05  # of probability
    contrastive: float = 0.0  # for networks that embed pairs
    contrastive_margin: float = 0.5  # of distance
    center: float = 0.0  # lambda
    center_update: str = "batch_mean"  # batch_mean (equation 10) | wen | moving_average
    center_rate: float = 0.5  # of wen's rule and of the moving average
    center_normalise: bool = True  # L2-normalise the features first
    center_reduction: str = "mean"  # mean | sum (equation 11 as printed)


@dataclass
class OptimisationConfig:
    """SGD with momentum; how the learning rate falls, and what happens while the backbone is frozen."""

    learning_rate: float = 0.01
    head_learning_rate_factor: float = 1.0  # what is not backbone learns this many times as fast
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"  # cosine (half a wave, by step) | constant | every | milestones | plateau
    factor: float = 0.1  # of the last three: the learning rate is multiplied with it ...
    every: int = 30  # ... after this many epochs, again and again (every)
    milestones: list[int] = field(default_factory=list)  # ... in these epochs (milestones)
    patience: int = 3  # ... after this many epochs without a better validation accuracy (plateau)
    freeze_epochs: int = 0  # the backbone does not learn in the first epochs
    frozen_batch_norm: str = "fixed"  # fixed | update: do its running statistics move meanwhile
    frozen_learning_rate: float | None = None  # of the head meanwhile; null: as afterwards
    frozen_weight_decay: float | None = None  # of the head meanwhile; null: as afterwards
    unfreeze_from_best: bool = False  # then go on from the best epoch so far, with a fresh optimiser
    channels_last: bool = True


@dataclass
class CurveConfig:
    """A figure of accuracy against a quantity that varies over the variants of an experiment."""

    x: str = MISSING  # a dotted config key, or pairs_in_a_batch
    line: str | None = None  # name of the line that this run lies on
    label: str = MISSING  # of the x axis


@dataclass
class WithinConfig:
    """Rows that are compared within a group of their own, such as a network fine-tuned and the same from scratch."""

    group: str = MISSING  # that this run belongs to
    condition: str = MISSING  # that this run is
    baseline: str = MISSING  # the side that the other sides of the group are compared with


@dataclass
class ReportConfig:
    """What the tables and figures of an experiment compare; no figure of a run depends on it."""

    reference: str | None = None  # the variant that differences are taken to
    within: WithinConfig | None = None  # differences within groups, instead of to one reference
    paper: dict[str, float] = field(default_factory=dict)  # accuracy in percent that the paper gives, by variant
    source: str | None = None  # of those numbers
    paper_gains: dict[str, float] = field(default_factory=dict)  # points that it gains on its baseline there, likewise
    # By group of `within`: parameters (millions), mflops and milliseconds that the paper gives.
    paper_costs: dict[str, dict[str, float]] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)  # what must be said about a row, by variant
    reach: float | None = None  # count the epochs until validation has this accuracy, 0..1
    curve: CurveConfig | None = None


@dataclass
class SearchConfig:
    """task=search: which keys are varied, and how often."""

    trials: int = 20  # in all, over every process that searches in the same folder; those that fail count
    space: dict[str, Any] = field(default_factory=dict)  # of keys: {low, high} with log or step, or {choices: [...]}


@dataclass
class DistillationConfig:
    """A student learns from a teacher, too (`fpcn_lightning.modules.student`).

    The weight of the labels is `loss.classification`.
    """

    teacher: str | None = None  # its checkpoint; it must have had the same pictures on the same sides
    method: str = "kd"  # kd | dkd | dist | function_matching | hint
    weight: float = 0.5  # of the method's term in the total loss
    temperature: float = 2.0  # that both sides' logits are divided by; without a meaning for hint
    target_weight: float = 1.0  # of dkd's term of the true class
    other_weight: float = 2.0  # of dkd's term of the other classes
    warm_up_epochs: int = 0  # in which the weight grows to its full size
    between: float = 1.0  # of dist's term across the classes of a picture
    within: float = 1.0  # of dist's term across the pictures of a class
    stored: bool = True  # ask the teacher once for all runs, and store what it says; not for function_matching, hint
    store: str | None = None  # folder of what it said; null: below the cache, by what it depends on


@dataclass
class ExportConfig:
    """task=export: what a bundle holds and what it must keep."""

    bundle: str | None = None  # the folder; null: OUTPUT/bundles/EXPERIMENT-VARIANT-seed-N
    calibration_pictures: int = 128  # training pictures that the ranges of int8 are measured on, at least 100
    most_drop: float = 1.0  # points of test accuracy that an int8 file may lose
    coverage: float = 0.95  # share of validation pictures that are not called unknown, 0..1
    score: str = "energy"  # energy | probability: what `unknown` goes by
    executorch: bool = False  # files for ExecuTorch with XNNPACK as well
    micrometres_per_pixel: float | None = None  # of the photographs, where all have one scale; `fpcn map` keeps to it
    opset: int = 18  # of ONNX


@dataclass
class ExplainConfig:
    """task=explain: which heat maps are drawn, and on how many pictures they are measured."""

    method: str = "grad_cam"  # grad_cam | grad_cam_plus_plus | eigen_cam | layer_cam | score_cam
    beside: list[str] = field(default_factory=list)  # checkpoints of other networks to show beside
    pictures: int = 6  # rows of the figure
    measured: int | None = None  # pictures with a true mask that heat maps are measured on; null: all of the side
    curves: int = 48  # of these, pictures that insertion and deletion are computed on
    steps: int = 16  # of these curves


# Keys that only help to compose others: a run's record has what they were put into.
COMPOSING = ("seeds", "slots", "backbone", "pretrained", "teacher")


@dataclass
class Config:
    """One run."""

    task: str = "train"  # train | evaluate | explain | export | report | search | dashboard
    name: str = "single"  # of the experiment: first folder of the run
    variant: str = MISSING  # second folder of the run
    seed: int = 0
    seeds: str = "0,1,2"  # those that an experiment runs every row with
    slots: int | None = None  # goes into hydra.launcher.slots, of the launcher for one machine
    backbone: str | None = None  # goes into model.backbone, of networks that have one
    pretrained: bool = True  # goes into model.pretrained, of networks that can be
    teacher: str | None = None  # goes into distillation.teacher, where a student has one
    output: str = "outputs"
    overwrite: bool = False  # throw away what lies in the run folder
    checkpoint: str | None = None  # task=evaluate, task=explain, task=export: the file to test, explain or export
    source: str | None = None  # task=explain: a picture, a folder or a list of pictures; null: those of the test side
    runs: str | None = None  # task=report, task=explain: the folder to look through
    test: bool = True  # look at the test side when training is over; a search must not
    report: ReportConfig = field(default_factory=ReportConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    explain: ExplainConfig = field(default_factory=ExplainConfig)
    distillation: DistillationConfig | None = None  # null: nobody teaches; conf/distillation/ has the methods
    data: DataConfig = field(default_factory=DataConfig)
    model: dict[str, Any] = MISSING
    loss: LossConfig = field(default_factory=LossConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    trainer: dict[str, Any] = MISSING
    logger: dict[str, Any] = MISSING
    callbacks: dict[str, Any] = MISSING


def register() -> None:
    """Make the schema known to Hydra under the name that `conf/config.yaml` lists first."""
    ConfigStore.instance().store(name="schema", node=Config)
