"""What `bundle.json` contains: the contract between the export, which writes it, and `fpcn`, which reads it.

A bundle is a folder:

- `bundle.json`, a `Manifest`;
- `labels.json`, `{"classes": [...]}` in the order of the probabilities;
- `card.md`, the model card, for people;
- the model files that the manifest lists, each the same network in another form.

Every ONNX file takes `images`, uint8 [B, S, S, 3], RGB: views as `views` describes them (resized and cropped, nothing
else: normalisation and softmax are in the graph), and returns

- `probabilities`, float32 [B, C], calibrated: the softmax of the logits divided by the temperature;
- `score`, float32 [B]: higher for pictures of the kind that the network was trained with. How it is computed is part of
  the graph: since schema 1 was published, first from the logits, then from feature maps;
- `activation_map`, float32 [B, C, h, w], if the manifest says so: what each place of the view adds to the logit of
  each class. The sum over all places and the bias of the class is the logit. A factor of a whole channel that depends
  on the picture (the gate of FPCN) counts as fixed;
- `object_mask`, float32 [B, h, w] in 0..1, if the manifest says so: at least 1/2 where the network locates the object.

The prediction for a picture with several views is the mean of their probabilities and of their scores.
"""

from typing import Literal, NotRequired, TypedDict

SCHEMA = 1
MAX_MAPPED_CLASSES = 255  # codes of a map are bytes, of which one is for places without data
MANIFEST_NAME = "bundle.json"
LABELS_NAME = "labels.json"
CARD_NAME = "card.md"


class SquashingViews(TypedDict):
    """The whole picture resized to `resize` x `resize` pixels, then its centre of `side` x `side`."""

    kind: Literal["squashing"]
    resize: int
    side: int
    mirrored: NotRequired[bool]  # the mirrored copy of each view is predicted, too; False where it is absent


class CroppingViews(TypedDict):
    """The shorter side resized to `resize`, the middle square of that, then its centre of `side` x `side`."""

    kind: Literal["cropping"]
    resize: int
    side: int
    mirrored: NotRequired[bool]  # likewise


class LetterboxingViews(TypedDict):
    """The longer side resized to `resize`, `fill` around it to a square, then its centre of `side` x `side`."""

    kind: Literal["letterboxing"]
    resize: int
    side: int
    fill: list[int]  # RGB, 0..255
    mirrored: NotRequired[bool]  # likewise


class TilingViews(TypedDict):
    """Tiles as `fpcn_lightning.data.tiles.Tiling` cuts them."""

    kind: Literal["tiling"]
    tile_scale: float
    most_tiles: int
    side: int
    mirrored: NotRequired[bool]  # likewise


ViewsEntry = SquashingViews | CroppingViews | LetterboxingViews | TilingViews


class ModelFile(TypedDict):
    """One form of the network; accuracies in 0..1, of whole pictures."""

    runtime: Literal["onnxruntime", "executorch"]
    precision: Literal["fp32", "int8"]
    bytes: int
    sha256: str  # hexadecimal digits
    accuracy: float | None  # on all test pictures; None if it was not measured
    agreement: float | None  # share of test pictures with the same class as PyTorch in float32
    threshold: float  # a picture with a lower score is `unknown`
    quantiles: dict[str, float]  # by coverage ("0.9"): a class joins the prediction set when 1 - probability <= this
    # Test pictures by true class (rows) and predicted class of their single views (columns); views of one picture share
    # a weight of 1. None if it was not measured, or for more classes than a map has.
    window_confusion: NotRequired[list[list[float]] | None]


class PhotographCounts(TypedDict):
    """Numbers of photographs of each class, in the order of the labels, by the part of the split."""

    train: list[int]
    val: list[int]
    test: list[int]


class Manifest(TypedDict):
    """All that a caller needs."""

    schema: int
    name: str  # experiment and variant, for people
    labels_sha256: str  # of `labels.json`: with the names of another bundle, every prediction would be wrong
    views: ViewsEntry
    files: dict[str, ModelFile]  # by file name without a folder
    default: str  # name of the ONNX file that is used by default
    activation_map: bool
    temperature: float
    score: str  # how the score is computed, for people: feature distance; energy or probability in earlier bundles
    coverage: float  # share of known pictures that are expected not to be `unknown`, 0..1
    lineage: dict[str, object]  # checkpoint, its hash, seed, split, teacher: for people
    micrometres_per_pixel: NotRequired[float | None]  # of the views, the network's input; None if unknown
    object_mask: NotRequired[bool]  # False where it is absent
    photographs: NotRequired[PhotographCounts]
    notice: NotRequired[str]  # a sentence that everybody who uses the model must read
    not_usable: NotRequired[list[str]]  # why, by `fpcn_lightning.field.usability`; absent in earlier bundles
