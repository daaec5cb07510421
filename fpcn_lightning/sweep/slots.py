"""Shares of one machine: a slot is some cards, or some cores, on which one job runs at a time."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fpcn_lightning.errors import UserError


@dataclass(frozen=True)
class Slot:
    """One share of the machine.

    Attributes:
        number: from 0.
        environment: what a job in this slot finds in its environment beside what is there anyway.
    """

    number: int
    environment: Mapping[str, str]


def make_slots(slots: int | None, cards: Sequence[str], cards_per_slot: int, cores: int) -> list[Slot]:
    """Divide the machine.

    Args:
        slots: how many jobs run at a time; None: as many as the cards give, one on a machine without cards.
        cards: their numbers or names as CUDA_VISIBLE_DEVICES takes them; empty: the slots are shares of the cores.
        cards_per_slot: cards of one job; without cards, processes of one job.
        cores: processor cores of the machine, shared evenly unless OMP_NUM_THREADS says otherwise.

    Raises:
        UserError: a number below one, or more slots than the cards give.
    """
    for key, value in (("slots", slots), ("cards_per_slot", cards_per_slot)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UserError(f"hydra.launcher.{key}={value} must be a whole number of at least 1.")
    possible = len(cards) // cards_per_slot
    if cards and possible < (slots or 1):
        raise UserError(
            f"{len(cards)} cards with hydra.launcher.cards_per_slot={cards_per_slot} give {possible} slots: lower "
            f"cards_per_slot or hydra.launcher.slots={slots or 'null'}, or name more cards in hydra.launcher.cards."
        )
    number_of_slots = slots or possible or 1
    threads = str(max(1, cores // number_of_slots // cards_per_slot))
    shared = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": threads}
    groups = [cards[first : first + cards_per_slot] for first in range(0, possible * cards_per_slot, cards_per_slot)]
    return [
        Slot(number, shared | ({"CUDA_VISIBLE_DEVICES": ",".join(groups[number])} if cards else {}))
        for number in range(number_of_slots)
    ]


def slots_for(
    accelerators: Iterable[str], *, slots: int | None, cards: Sequence[int | str] | None, cards_per_slot: int
) -> list[Slot]:
    """Divide this machine for jobs with these `trainer.accelerator`s, as `hydra.launcher` says.

    Which cards there are is asked, which takes seconds, only where none are named and some job may want one.
    """
    if cards is None:
        cards = [] if set(accelerators) <= {"cpu"} else visible_cards()
    # A cluster or taskset may leave us a part of the machine; macOS cannot say.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return make_slots(slots, [str(card) for card in cards], cards_per_slot, cores)


def visible_cards() -> list[str]:
    """The cards that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    number = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(card) for card in range(number)] if named is None else named.split(",")[:number]
