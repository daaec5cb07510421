"""What the page says about a bundle: what it knows, how good it is, and what it is not for."""

import math
import re
from dataclasses import dataclass

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import Bundle
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.serving.verdict import usual_coverage

NOT_INTENDED = (
    "decisions about safety, stability, ore grade, price or the law; for rocks of other classes; for photographs taken "
    "in another way than those that it was trained with."
)
_CARD_NOT_INTENDED = re.compile(r"^\*\*Not intended for\*\*\s+(.+?)(?:\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)
_CARD_COUNTS = re.compile(r"^- photographs: .*?; (\d+) to train, (\d+) to validate, (\d+) to test$", re.MULTILINE)


@dataclass(frozen=True)
class Counts:
    """Numbers of photographs in the splits."""

    train: int
    val: int
    test: int


@dataclass(frozen=True)
class About:
    """The facts about a bundle that the page states.

    Attributes:
        name: of the bundle.
        file: name of the model file.
        classes: all that the model knows.
        accuracy: share of test photographs that were classified correctly, 0..1; None if it was not measured.
        counts: of the photographs; None if neither the manifest nor the card states them.
        trained_with: numbers of photographs of each class, in the order of `classes`; empty if they are not stated.
        not_intended: what the model must not be used for, to follow the word "for".
        activation_map: whether the page shows heat maps.
        object_mask: whether the page shows located objects.
        coverage: share of validation photographs that are not `unknown`, 0..1.
        set_coverage: of the prediction sets; None if the bundle has none.
        card: the model card; empty if there is none.
        notice: a sentence of its author that must be read; empty if there is none.
        not_usable: the verdict on a model that is not usable; empty for any other.
    """

    name: str
    file: str
    classes: tuple[str, ...]
    accuracy: float | None
    counts: Counts | None
    trained_with: tuple[int, ...]
    not_intended: str
    activation_map: bool
    object_mask: bool
    coverage: float
    set_coverage: float | None
    card: str
    notice: str = ""
    not_usable: str = ""

    @property
    def standard_error(self) -> float | None:
        """Binomial standard error of the accuracy, 0..1; None without an accuracy or the number of photographs."""
        if self.accuracy is None or self.counts is None or not self.counts.test:
            return None
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.counts.test)


def about(model: BundleModel) -> About:
    """Collect the facts from the manifest and the model card."""
    bundle = model.bundle
    try:
        card = bundle.card()
    except UserError:  # the card is for people; a bundle works without it
        card = ""
    not_intended = _CARD_NOT_INTENDED.search(card)
    return About(
        name=bundle.name,
        file=model.file,
        classes=bundle.classes,
        accuracy=bundle.files[model.file]["accuracy"],
        counts=_counts(bundle, card),
        trained_with=tuple(bundle.photographs["train"]) if bundle.photographs else (),
        not_intended=" ".join(not_intended[1].replace("`", "'").split()) if not_intended else NOT_INTENDED,
        activation_map=bundle.activation_map,
        object_mask=bundle.object_mask,
        coverage=bundle.coverage,
        set_coverage=usual_coverage(model),
        card=card,
        notice=bundle.usability.notice,
        not_usable=bundle.usability.sentence,
    )


def _counts(bundle: Bundle, card: str) -> Counts | None:
    """The numbers of photographs by the manifest, or by the card of a bundle whose manifest does not have them."""
    if bundle.photographs is not None:
        return Counts(*(sum(bundle.photographs[split]) for split in ("train", "val", "test")))
    found = _CARD_COUNTS.search(card)
    return Counts(*map(int, found.groups())) if found else None
