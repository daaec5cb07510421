"""What a training may take, as users write it; read without torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fpcn_lightning.errors import UserError

_BUDGET = re.compile(r"(\d+(?:\.\d+)?) ?(steps|epochs|min|h)")
UNITS = ("steps", "epochs", "min", "h")
_SECONDS = {"min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """What a training may take: a number of `steps`, `epochs`, or of seconds in the units `min` and `h`."""

    amount: float
    unit: str

    @classmethod
    def parsed(cls, text: str, key: str = "training.budget", units: Sequence[str] = UNITS) -> "Budget":
        """The budget that a text such as `20min` describes.

        Args:
            text: value of the config key `key`.
            key: see `text`.
            units: those that make sense there.

        Raises:
            UserError: it describes none.
        """
        found = _BUDGET.fullmatch(text.strip())
        if found is None or found[2] not in units or not float(found[1]) > 0:
            listed = f"{', '.join(units[:-1])} or {units[-1]}"
            raise UserError(f"{key}={text} must be a number of {listed}, such as 20min.")
        return cls(float(found[1]), found[2])

    @property
    def seconds(self) -> float | None:
        """The time that it allows; None if it is no time."""
        return self.amount * _SECONDS[self.unit] if self.unit in _SECONDS else None
