"""The text that `fpcn predict` and `fpcn info` print."""

from collections.abc import Iterable, Sequence

from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.field.bundle import Bundle
from fpcn_lightning.field.classify import Prediction
from fpcn_lightning.field.manifest import ModelFile, PhotographCounts
from fpcn_lightning.field.predict import PredictionSummary
from fpcn_lightning.field.results import PredictionTable, shown
from fpcn_lightning.field.usability import NOT_USABLE, USABLE, Usability

_CLASSES = 20  # that are printed, the most frequent ones


def summary_text(summary: PredictionSummary) -> str:
    """How many pictures of each kind there are, and where the predictions are."""
    # Pairs, because a class may be called (unknown).
    counts = list(summary.classes.items())
    if len(counts) > _CLASSES + 1:  # the line that stands for the rest is worth more than one class
        rest = counts[_CLASSES:]
        counts[_CLASSES:] = [(f"({len(rest)} other classes)", sum(count for _, count in rest))]
    counts += [("(unknown)", summary.unknown), ("(not readable)", summary.unreadable)]
    lines = _aligned((name, str(count)) for name, count in counts if count)
    return f"{_stamp(summary.usability)}{summary.pictures} pictures in {shown(summary.output)}\n{lines}"


def prediction_text(prediction: Prediction, table: PredictionTable, usability: Usability = USABLE) -> str:
    """The prediction for one picture."""
    row = table.row(prediction)
    if prediction.error is not None:
        return f"{row['path']}: {row['error']}"
    lines = [f"{_stamp(usability)}{row['path']}"]
    if prediction.unknown:
        lines.append("  unknown: this does not look like the pictures that the model was trained with. Its best guess:")
    lines.append(_aligned((str(row[f"class_{rank}"]), f"{row[f'probability_{rank}']:.1%}") for rank in table.ranks))
    if prediction.prediction_set is not None:
        lines.append(f"  prediction set: {', '.join(prediction.prediction_set) or 'none'}")
    return "\n".join(lines)


def bundle_text(bundle: Bundle) -> str:
    """What a bundle contains, and its model card.

    Raises:
        UserError: it has no model card.
    """
    facts = {
        **({"notice": bundle.usability.notice} if bundle.usability.notice else {}),
        **({} if bundle.usability.usable else {NOT_USABLE.upper(): "; ".join(bundle.usability.reasons)}),
        "classes": ", ".join(bundle.classes),
        **({} if bundle.photographs is None else {"photographs": _counts_text(bundle.photographs)}),
        "input": _views_text(bundle),
        "unknown": f"a picture whose score ({bundle.score}) is below that of {bundle.coverage:.0%} of known pictures",
        **{name: _file_text(file) for name, file in bundle.files.items()},
        "default": bundle.default,
    }
    counts = "" if bundle.photographs is None else f"\n\n{_counts_table(bundle.classes, bundle.photographs)}"
    return f"{bundle.name}\n{_aligned(facts.items())}{counts}\n\n{bundle.card()}"


def _counts_text(counts: PhotographCounts) -> str:
    train, val, test = (sum(counts[split]) for split in ("train", "val", "test"))
    return f"{train:,} to train, {val:,} to validate, {test:,} to test"


def _counts_table(classes: Sequence[str], counts: PhotographCounts) -> str:
    """A line for each class, with its photographs by split."""
    width = max(len("class"), *map(len, classes))
    lines = [f"  {'class':{width}}  {'train':>9}  {'validate':>9}  {'test':>9}"]
    rows = zip(classes, counts["train"], counts["val"], counts["test"], strict=True)
    lines += [f"  {name:{width}}  {train:9,}  {val:9,}  {test:9,}" for name, train, val, test in rows]
    return "\n".join(lines)


def _stamp(usability: Usability) -> str:
    return "".join(f"{sentence}\n" for sentence in usability.warnings)


def _views_text(bundle: Bundle) -> str:
    views = bundle.views
    size = f"{views.evaluation_size} x {views.evaluation_size} pixels"
    if bundle.micrometres_per_pixel is not None:
        size += f" of {bundle.micrometres_per_pixel:.3g} micrometres"
    text = f"up to {views.max_tiles} tiles of {size}" if isinstance(views, Tiling) else f"one view of {size}"
    if views.square is not None:
        text += f" ({views.square.sentence})"
    return f"{text}, and the mirrored copies" if views.mirrored_views else text


def _file_text(file: ModelFile) -> str:
    parts = [file["precision"], f"{file['bytes'] / 1e6:.1f} MB", f"for {file['runtime']}"]
    if file["accuracy"] is not None:
        parts.append(f"{file['accuracy']:.1%} of test pictures right")
    parts.append(f"threshold {file['threshold']:g}")
    if file["quantiles"]:
        parts.append(f"prediction sets of coverage {', '.join(file['quantiles'])}")
    return ", ".join(parts)


def _aligned(cells: Iterable[tuple[str, str]]) -> str:
    rows = list(cells)
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"  {name:{width}}  {cell}" for name, cell in rows)
