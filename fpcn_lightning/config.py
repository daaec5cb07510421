"""The schema of the config: every key that a yaml file or the command line may set, with its type and its meaning.

Hydra merges `conf/config.yaml` into these dataclasses, so an unknown key is an error before anything is built.
`fpcn_lightning.build.config` turns the result into these objects once; everything else receives them as objects. What
is built by `_target_` is checked against the signature of its class when it is built, in `fpcn_lightning.build`. This
module knows neither Hydra nor OmegaConf, so that any part of the package may use it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent
# In a checkout `conf/` lies beside the package, in a wheel inside it; a relative path fails under `python -m`.
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"

MISSING: Any = "???"  # OmegaConf's mark of a value that must be set

Target = dict[str, Any]
"""A section with `_target_`: the class that is built, and its arguments."""


@dataclass
class PublishedSplit:
    """A split that came with the data: the folder below `data.root` that holds the class folders of each split."""

    train: str | None = None
    val: str | None = None
    test: str | None = None


@dataclass
class SplitConfig:
    """Which images train, which choose the best epoch, which are tested once."""

    val: float = 0.15  # share of all images, 0..1
    test: float = 0.20  # share of all images, 0..1
    seed: int = 0  # not the run's seed: runs that differ in the seed must share their test set
    grouped: bool = True  # keep groups and copies in one split; false shows what leakage adds to the accuracy
    published: PublishedSplit = field(default_factory=PublishedSplit)
    file: str | None = None  # the split.csv of another run, perhaps edited, instead of a new split


@dataclass
class CacheConfig:
    """Images decoded and resized once, then read from a memory map."""

    enabled: bool = True
    max_gigabytes: float = 8.0  # images beyond this are decoded anew each time
    directory: str | None = None  # null: $XDG_CACHE_HOME/fpcn_lightning or ~/.cache/fpcn_lightning


@dataclass
class LimitsConfig:
    """What an image's file may cost to read; one beyond a limit is refused (`fpcn_lightning.data.images`)."""

    megapixels: float = 120.0  # as its header says
    megabytes: float = 1000.0  # of the file
    seconds: float = 60.0  # to decode it


@dataclass
class SyntheticConfig:
    """The embedded example sets (`fpcn_lightning.data.synthetic`)."""

    kind: str = "rocks"  # rocks | minerals | sections
    images_per_class: int = 200
    size: int = 224  # pixels
    seed: int = 0
    shortcut: bool = False  # of rocks: the background predicts the label in training and validation, not in test
    bits: int = 8  # of minerals: 8 | 16 a channel


@dataclass
class DataConfig:
    """Images in, balanced batches out."""

    root: str | None = None  # folder of class folders, or a CSV with path,label[,group][,split][,mask]
    synthetic: SyntheticConfig | None = None  # draw the example set instead of reading `root`
    split: SplitConfig = field(default_factory=SplitConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    resize: int = 512  # pixels of the square that an image becomes, and that crops are cut from; not used with `tiles`
    fit: str = "squash"  # squash | crop | letterbox (`fpcn_lightning.data.images.fit`): how it becomes one
    fill: list[int] = field(default_factory=lambda: [124, 116, 104])  # RGB, 0..255: what a letterbox is filled with
    tiles: bool = False  # no square: cut tiles, a random one in training, a grid that votes otherwise
    tile_scale: float = 1.0  # images are resized by this factor before tiles are cut
    max_tiles: int = 16  # of one image in validation and test
    crop: int = 448  # pixels, both sides: random in training, centred otherwise
    evaluation_crop: int | None = None  # pixels, both sides, in validation and test; null: as `crop`
    random_crop: bool = True
    horizontal_flip: float = 0.5  # probability
    view_seed: int | None = None  # of the views; null: the run's. Runs that share one can share a teacher's logits
    brightness: float = 0.0  # times a factor from 1 - brightness to 1 + brightness, in training
    contrast: float = 0.0  # likewise, about the view's mean grey
    saturation: float = 0.0  # likewise, about each pixel's grey
    crop_scale: list[float] = field(default_factory=lambda: [1.0, 1.0])  # size of the part cut in training / `crop`
    quarter_turns: bool = False  # in training, for objects without an upper side such as thin sections
    mirrored_views: bool = False  # average the predictions of a view and its mirrored copy in validation and test
    augmentations: list[Target] = field(default_factory=list)  # further ones (`fpcn_lightning.data.augment.Augment`)
    samples_per_class: int = 14  # of every class in every batch of one process
    batch_size: int | None = None  # the largest of one process: fewer images of a class, then fewer classes
    sampling: str = "balanced"  # balanced | shuffled: every image once a pass, as many of a class as there are
    epoch_length: str | int = "published"  # steps: published | longest_class | a number
    evaluation_batch_size: int = 32  # views; a step holds all tiles of an image, even if they are more
    workers: int = 0  # loader processes; changes nothing but speed
    max_unreadable_share: float = 0.05  # of all files; above it the run stops
    conflicting_labels: str = "refuse"  # refuse | keep, for one image under two labels


@dataclass
class LRSchedulerConfig:
    """The learning-rate schedule, with the names of Lightning's `configure_optimizers`."""

    scheduler: Target | None = None  # a class of torch.optim.lr_scheduler; null: the rate stays as it is
    interval: str = "epoch"  # step | epoch
    monitor: str | None = None  # of schedules that depend on a metric, such as val/accuracy


@dataclass
class TrainingConfig:
    """What is trained when, and with which learning rates besides `optimizer.lr`; one value for all networks."""

    budget: str | None = None  # 600steps | 12epochs | 20min: replaces trainer.max_epochs or data.epoch_length
    min_steps: int = 0  # of the whole training: epochs are made longer where there are fewer
    frozen_share: float = 0.0  # of the stages of a pretrained backbone, from the input, that are never trained; 0..1
    freeze_epochs: int = 0  # the backbone is frozen in the first epochs
    frozen_batch_norm: str = "fixed"  # fixed | update: whether its running statistics change meanwhile
    frozen_lr: float | None = None  # of the head meanwhile; null: as afterwards
    frozen_weight_decay: float | None = None  # of the head meanwhile; null: as afterwards
    unfreeze_from_best: bool = False  # then continue from the best epoch so far, with a fresh optimiser
    head_lr_factor: float | None = None  # times optimizer.lr, of all that is not backbone; null: the network's own
    layer_decay: float = 1.0  # factor of the learning rate from a layer of the backbone to the one before it
    mixup: float = 0.0  # alpha of the Beta distribution of the shares of two images; 0: no mixup
    cutmix: float = 0.0  # likewise, of the areas of two images
    mix_probability: float = 0.5  # of a batch to be mixed, where mixup or cutmix is above 0
    ema: float | None = None  # decay of the moving average of the weights, which is validated and saved; null: none
    probe: str = "off"  # off | floor: an epoch must be better than a linear probe | start: and training starts from it
    interpolate: bool = False  # after training, try weights between those of the probe and of the best epoch
    average_from: float | None = None  # instead: share of the training after which weights are averaged equally
    quantised_steps: int = 0  # the last ones, trained with simulated eight bits, so that an int8 file loses less
    channels_last: bool = True
    checkpoint_every: str | None = "5min"  # 200steps | 5min | 1h, to resume from; null: after every epoch only


@dataclass
class CurveConfig:
    """A figure of accuracy against a quantity that varies over the variants of an experiment."""

    x: str = MISSING  # a dotted config key, or pairs_in_a_batch
    line: str | None = None  # name of the line that this run belongs to
    label: str = MISSING  # of the x axis


@dataclass
class WithinConfig:
    """Rows that are compared within groups, such as a network fine-tuned and the same from scratch."""

    group: str = MISSING  # that this run belongs to
    condition: str = MISSING  # of this run
    baseline: str = MISSING  # the condition that the other conditions of the group are compared with


@dataclass
class ReportConfig:
    """What the tables and figures of an experiment compare; no figure of a run depends on it."""

    reference: str | None = None  # the variant that differences are taken to
    within: WithinConfig | None = None  # differences within groups, instead of to one reference
    paper: dict[str, float] = field(default_factory=dict)  # accuracy in percent that the paper gives, by variant
    source: str | None = None  # of those numbers
    paper_gains: dict[str, float] = field(default_factory=dict)  # points gained on its baseline there, by variant
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

    The weight of the labels is `loss.classification.weight`.
    """

    # A checkpoint, a bundle, a folder of runs, or a pattern with *, of networks that were trained on the same split;
    # several teach as an ensemble.
    teacher: str | None = None
    force: bool = False  # go on with a teacher whose validation accuracy is below that of the student alone
    method: str = "kd"  # kd | dkd | dist | function_matching | hint | cosine
    weight: float = 0.5  # of the method's term in the total loss
    temperature: float = 2.0  # that the logits of both are divided by; not used by hint, cosine
    target_weight: float = 1.0  # of dkd's term of the true class
    other_weight: float = 2.0  # of dkd's term of the other classes
    warm_up_epochs: int = 0  # in which the weight grows to its full size
    unlabelled: str | None = None  # photographs without a class: a folder, or a list with the column path
    unlabelled_share: float = 0.5  # of a batch, of which the other part is that of a training without them
    between: float = 1.0  # of dist's term across the classes of an image
    within: float = 1.0  # of dist's term across the images of a class
    stored: bool = True  # compute the teacher's logits once for all runs; not for function_matching, hint, cosine
    store: str | None = None  # folder of the stored logits; null: below the cache, named after what they depend on


@dataclass
class ExportConfig:
    """task=export: what a bundle holds and what it must keep."""

    bundle: str | None = None  # the folder; null: OUTPUT/bundles/EXPERIMENT-VARIANT-seed-N
    calibration_pictures: int = 128  # training images that the ranges of int8 are measured on, at least 100
    max_drop: float = 1.0  # points of test accuracy that an int8 file may lose
    coverage: float = 0.95  # share of known images that are not called unknown, 0..1
    executorch: bool = False  # files for ExecuTorch with XNNPACK as well
    micrometres_per_pixel: float | None = None  # of the photographs, where all have one scale; `fpcn map` keeps to it
    opset: int = 18  # of ONNX
    notice: str | None = None  # a sentence that everybody who uses the model must read, shown before its results


@dataclass
class ExplainConfig:
    """task=explain: which heat maps are drawn, and on how many images they are measured."""

    method: str = "grad_cam"  # grad_cam | grad_cam_plus_plus | eigen_cam | layer_cam | score_cam
    compare_with: list[str] = field(default_factory=list)  # checkpoints of other networks, shown in further columns
    pictures: int = 6  # rows of the figure
    measured: int | None = None  # images with a true mask that heat maps are measured on; null: all of the split
    curves: int = 48  # of these, images that insertion and deletion are computed on
    steps: int = 16  # of these curves


@dataclass
class BenchmarkConfig:
    """task=benchmark: what is measured on this machine, and how often."""

    parts: list[str] = field(default_factory=lambda: ["loader", "step", "shares", "inference", "start", "plan"])
    rounds: int = 7  # of what is measured in turns; medians and quartiles are those of the rounds
    threads: int | None = None  # of the training steps; null: as a training, OMP_NUM_THREADS or all cores
    photographs: int = 96  # that the loader is measured on
    # Rows of the training step besides those of networks: allocator | frozen | bf16 | compile (needs a C compiler).
    variants: list[str] = field(default_factory=lambda: ["allocator", "frozen"])


# Shortcuts: other keys refer to them in yaml, and the record of a run has the values of those.
SHORTCUTS = ("backbone", "pretrained", "teacher", "force_teacher", "seeds", "slots")


@dataclass
class Config:
    """One run. The keys that people change most come first: `--cfg job` prints them in this order."""

    data: DataConfig = field(default_factory=DataConfig)  # conf/data/
    model: Target = MISSING  # conf/model/
    backbone: str | None = MISSING  # goes into model.backbone, of networks that leave it open
    pretrained: bool = True  # goes into model.pretrained, of networks that can be
    optimizer: Target = MISSING  # conf/optimizer/
    lr_scheduler: LRSchedulerConfig = field(default_factory=LRSchedulerConfig)  # conf/lr_scheduler/
    training: TrainingConfig = field(default_factory=TrainingConfig)
    trainer: Target = MISSING  # conf/trainer/; trainer.max_epochs is set by conf/recipe/
    loss: dict[str, Any] = field(default_factory=dict)  # terms by name, each a Target with a weight: conf/loss/
    seed: int = 0
    seeds: str = "0,1,2"  # those that an experiment runs every row with
    slots: int | None = None  # goes into hydra.launcher.slots, of the launcher for one machine
    name: str = "single"  # of the experiment: first folder of the run
    variant: str = MISSING  # second folder of the run
    output: str = "outputs"
    overwrite: bool = False  # delete what the run folder holds
    test: bool = True  # test when training is over; a search must not
    task: str = "train"  # train | audit | benchmark | evaluate | explain | export | report | search | dashboard
    checkpoint: str | None = None  # task=evaluate, task=explain, task=export: the file to test, explain or export
    source: str | None = None  # task=explain: an image, a folder or a list of images; null: those of the test split
    runs: str | None = None  # task=report, task=explain: the folder of the runs
    teacher: str | None = None  # goes into distillation.teacher, where a student has one
    force_teacher: bool = False  # goes into distillation.force, where a student has a teacher
    distillation: DistillationConfig | None = None  # null: no teacher; conf/distillation/ has the methods
    export: ExportConfig = field(default_factory=ExportConfig)
    explain: ExplainConfig = field(default_factory=ExplainConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    logger: Target = MISSING  # conf/logger/
    callbacks: Target = MISSING  # conf/callbacks/
