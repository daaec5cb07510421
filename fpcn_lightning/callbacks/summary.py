"""The model summary of Lightning without its columns of tensor shapes, which leave no space for the names."""

from typing import Any

from lightning.pytorch.callbacks import RichModelSummary


class CompactModelSummary(RichModelSummary):
    """Name, type, parameters, mode and FLOPs of the modules of the network."""

    @staticmethod
    def summarize(summary_data: list[tuple[str, list[str]]], *numbers: Any, **options: Any) -> None:
        """Print the table; called by Lightning."""
        shown = [column for column in summary_data if column[0] not in ("In sizes", "Out sizes")]
        RichModelSummary.summarize(shown, *numbers, **options)
