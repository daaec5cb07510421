"""Checks the photographs before anything of a training is imported: classes, numbers, copies, unreadable files."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fpcn_lightning.config import DataConfig
from fpcn_lightning.data.index import Index, RefusedFile, find
from fpcn_lightning.data.names import escaped
from fpcn_lightning.data.preparation import location, make_augmentation, prepare, published_split
from fpcn_lightning.data.split import Split, configured_split
from fpcn_lightning.field.usability import MIN_VALIDATION_PICTURES
from fpcn_lightning.quickstart.options import TrainOptions

FEW = 10  # photographs of a class
_SHOWN = 5  # unreadable files


@dataclass(frozen=True)
class SplitCounts:
    """Photographs of a class, or of all classes, in each split."""

    train: int
    val: int
    test: int

    @property
    def total(self) -> int:
        """Of all splits."""
        return self.train + self.val + self.test


@dataclass(frozen=True)
class PhotographFacts:
    """What was found in a folder of photographs.

    Attributes:
        classes: by name, in order.
        copies: files that are exact copies of another one; all copies of a photograph are in one split.
        refused: files that are not used, with the reason.
        fingerprint: of photographs, labels and splits.
    """

    classes: Mapping[str, SplitCounts]
    copies: int
    refused: tuple[RefusedFile, ...]
    fingerprint: str

    @property
    def counts(self) -> SplitCounts:
        """Of all classes."""
        counts = self.classes.values()
        return SplitCounts(
            sum(each.train for each in counts), sum(each.val for each in counts), sum(each.test for each in counts)
        )

    @property
    def remarks(self) -> list[str]:
        """What the user should know before a training, as sentences without a full stop."""
        return list(self._remarks())

    def _remarks(self) -> Iterator[str]:
        if self.copies:
            yield f"{self.copies:,} exact {'copy' if self.copies == 1 else 'copies'}, kept in the split of the original"
        if self.refused:
            more = len(self.refused) - _SHOWN
            listed = "; ".join(f"{escaped(item.name)} ({item.reason})" for item in self.refused[:_SHOWN])
            yield f"not used: {listed}{f'; and {more:,} more' if more > 0 else ''}"
        small = [f"{name} ({count.total})" for name, count in self.classes.items() if count.total < FEW]
        if small:
            yield f"fewer than {FEW} photographs: {', '.join(small)}"
        if self.counts.val < MIN_VALIDATION_PICTURES:
            yield (
                f"{self.counts.val} photographs validate, and {MIN_VALIDATION_PICTURES} are needed: the model will be "
                "marked as not usable. Add photographs"
            )


def check_photographs(config: DataConfig) -> PhotographFacts:
    """Read every photograph once; the training finds them in the cache.

    Raises:
        UserError: too many files are unreadable, or there are too few photographs of a class.
    """
    root = location(config)
    found = find(root, published_split(config, root))
    index, _ = prepare(config, make_augmentation(config), found, root, 2)
    split = configured_split(index, config.split)
    digests = Counter(picture.digest for picture in index.pictures)
    return PhotographFacts(
        classes=_counted(index, split),
        copies=sum(count - 1 for count in digests.values()),
        refused=index.refused,
        fingerprint=split.fingerprint,
    )


def _counted(index: Index, split: Split) -> dict[str, SplitCounts]:
    places = (split.train, split.val, split.test)
    counts = [Counter(index.pictures[position].label for position in positions) for positions in places]
    return {name: SplitCounts(*(count[name] for count in counts)) for name in index.classes}


def facts_text(options: TrainOptions, facts: PhotographFacts) -> str:
    """What was found, as printed."""
    counts = facts.counts
    width = max(map(len, facts.classes))
    lines = [f"{options.photographs}: {counts.total:,} photographs of {len(facts.classes)} classes"]
    lines += [f"  {name:{width}}  {count.total:,}" for name, count in facts.classes.items()]
    lines.append(f"  {counts.train:,} to train, {counts.val:,} to validate, {counts.test:,} to test")
    lines += [f"  note: {remark}." for remark in facts.remarks]
    return "\n".join(lines)
