"""The model summary of Lightning without its columns of tensor shapes, which crowd out the names."""

from typing import Any

from lightning.pytorch.callbacks import RichModelSummary


class Summary(RichModelSummary):
    """Name, type, parameters, mode and FLOPs of the parts of the network."""

    @staticmethod
    def summarize(summary_data: list[tuple[str, list[str]]], *numbers: Any, **options: Any) -> None:
        """Print the table; called by Lightning."""
        shown = [column for column in summary_data if column[0] not in ("In sizes", "Out sizes")]
        RichModelSummary.summarize(shown, *numbers, **options)
