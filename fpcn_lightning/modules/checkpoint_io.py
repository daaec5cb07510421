"""Checkpoints are written in one step: the file is either the old one or the new one, also on a full disk."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from fpcn_lightning.runs.atomic_write import atomic_write, leftovers


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints to the folder that they are for.

    Lightning writes to TMPDIR and copies from there where that is another file system: a full TMPDIR stops it, and a
    process that is killed while it copies leaves half a checkpoint in the place of the last good one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ARG002 - Lightning's signature
        """Write `checkpoint`, or replace the one at `path`, in a single step.

        Raises:
            WriteError: it cannot be written; an earlier one is kept.
        """
        target = Path(path)
        for left in leftovers(target):  # the lock of the run folder keeps other processes out
            left.unlink(missing_ok=True)
        # Through memory, as Lightning does: torch reports a full disk as an error in its own file format.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with atomic_write(target) as temporary:
            temporary.write_bytes(content.getbuffer())
