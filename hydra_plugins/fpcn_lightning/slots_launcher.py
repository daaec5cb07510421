"""`hydra/launcher=slots`: the jobs of a sweep on this machine, one at a time on each slot of cards or cores."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra_plugins.fpcn_lightning._process_launcher import ProcessLauncher, command

if TYPE_CHECKING:
    from fpcn_lightning.sweep.jobs import Ended, Job

__all__ = ["SlotsLauncher", "command"]


class SlotsLauncher(ProcessLauncher):
    """A queue of jobs before slots.

    Args:
        slots: jobs at a time; None: as many as the cards give, one on a machine without cards.
        cards: their numbers or names as CUDA_VISIBLE_DEVICES takes them; None: all that this process may use.
        cards_per_slot: cards of one job, as many as its `trainer.devices`.
    """

    def __init__(self, slots: int | None, cards: Sequence[int | str] | None, cards_per_slot: int) -> None:
        self.slots = slots
        self.cards = cards
        self.cards_per_slot = cards_per_slot

    def run(self, jobs: Sequence["Job"], accelerators: set[str]) -> list["Ended"]:
        """Run the jobs, whose `trainer.accelerator`s these are.

        Raises:
            UserError: the machine does not have these slots.
        """
        from fpcn_lightning.sweep.overview import Overview
        from fpcn_lightning.sweep.processes import run_jobs
        from fpcn_lightning.sweep.slots import slots_for

        slots = slots_for(accelerators, slots=self.slots, cards=self.cards, cards_per_slot=self.cards_per_slot)
        return run_jobs(jobs, slots, Overview(), len(jobs))
