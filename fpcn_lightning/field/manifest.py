"""What `bundle.json` says: the contract between the export, which writes it, and the field, which reads it.

A bundle is a folder:

- `bundle.json`, a `Manifest`;
- `labels.json`, `{"classes": [...]}` in the order of the probabilities;
- `card.md`, for people;
- the model files that the manifest lists, each the same network in another form.

Every ONNX file takes `images`, uint8 [B, S, S, 3], RGB, views as `views` describes them (resized and cut, nothing
else: normalisation and softmax lie inside), and gives

- `probabilities`, float32 [B, C], calibrated: the softmax of the logits divided by the temperature;
- `score`, float32 [B]: higher for pictures of the kind that it was trained with;
- `activation_map`, float32 [B, C, h, w], where the manifest says so: what each place of the view adds to the logit of
  each class, so that the sum over all places and the bias of the class is the logit.

Several tiles of one picture are answered by the mean of their probabilities and of their scores.
"""

from typing import Literal, NotRequired, TypedDict

SCHEMA = 1
MANIFEST_NAME = "bundle.json"
LABELS_NAME = "labels.json"
CARD_NAME = "card.md"


class SquashingViews(TypedDict):
    """The whole picture brought to `resize` x `resize` pixels, then its centre of `side` x `side`."""

    kind: Literal["squashing"]
    resize: int
    side: int


class TilingViews(TypedDict):
    """Tiles as `fpcn_lightning.data.tiles.Tiling` cuts them."""

    kind: Literal["tiling"]
    tile_scale: float
    max_tiles: int
    side: int


class ModelFile(TypedDict):
    """One form of the network; accuracies in 0..1, of whole pictures."""

    runtime: Literal["onnxruntime", "executorch"]
    precision: Literal["fp32", "int8"]
    bytes: int
    sha256: str  # hexadecimal digits
    accuracy: float | None  # on the whole test side; None where it was not looked at
    agreement: float | None  # share of test pictures with the same class as PyTorch in float32
    threshold: float  # a picture with a lower score is `unknown`
    quantiles: dict[str, float]  # by coverage ("0.9"): a class joins the prediction set when 1 - probability <= this


class Manifest(TypedDict):
    """All that a caller needs to know."""

    schema: int
    name: str  # experiment and variant, for people
    labels_sha256: str  # of `labels.json`: the names of another bundle would be wrong without anybody noticing
    views: SquashingViews | TilingViews
    files: dict[str, ModelFile]  # by file name, which has no folder
    default: str  # name of the ONNX file that is used unless told otherwise
    activation_map: bool
    temperature: float
    score: str  # how the score is computed, a word
    coverage: float  # share of validation pictures that are not `unknown`, 0..1
    lineage: dict[str, object]  # checkpoint, its hash, seed, split, teacher: for people
    micrometres_per_pixel: NotRequired[float | None]  # of the views, as the network sees them; None where not known
