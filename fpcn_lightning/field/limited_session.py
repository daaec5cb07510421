"""A session of onnxruntime for a graph from an unknown source: limited in memory and in the time of a batch.

A graph of a few hundred bytes may ask for any amount of memory, or multiply matrices for days.
"""

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.deadlines import Deadlines
from fpcn_lightning.errors import MissingPackage
from fpcn_lightning.installation import LIGHT

MAX_SECONDS = 600.0  # of one batch; a batch of the largest network takes a minute on an old laptop
MEMORY_SHARE = 0.5  # of this computer's memory, for all sessions of this process together
_UNKNOWN_MEMORY = 2**33  # bytes, where the system does not tell

_ALLOCATOR = "BFCArena"  # in the message of onnxruntime, which has no error of its own for this
_FATAL = 4  # onnxruntime's highest log level: its errors reach the user as exceptions


class LimitError(Exception):
    """A batch took longer, or needs more memory, than it may."""


class GraphValue(NamedTuple):
    """An input or output of a graph; lengths that any batch may have are texts or None."""

    name: str
    type: str
    shape: list[int | str | None]


class LimitedSession:
    """An ONNX file, loaded for the CPU.

    Args:
        model: its content.
        threads: processor cores that one batch is computed with; None uses all.
        max_seconds: of a batch.

    Attributes:
        inputs, outputs: of the graph.

    Raises:
        MissingPackage: onnxruntime is missing.
        Exception: one of onnxruntime's, which have no common class, if it cannot load the model.
    """

    def __init__(self, model: bytes, threads: int | None = None, *, max_seconds: float = MAX_SECONDS) -> None:
        MissingPackage.check("a bundle", LIGHT)  # or its import would look like a damaged model
        import onnxruntime

        self._max_seconds, self._deadlines = max_seconds, Deadlines(max_seconds)
        _limit_memory(onnxruntime)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = _FATAL
        options.add_session_config_entry("session.use_env_allocators", "1")  # those of `_limit_memory`
        # Not onnxruntime's own format, which `graph_problem` does not check.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        self._session = onnxruntime.InferenceSession(
            model,
            options,
            providers=["CPUExecutionProvider"],
            # It computes parts of the graph while loading, without these limits; exports have done so already.
            disabled_optimizers=["ConstantFolding"],
            enable_fallback=False,  # it would print, and try the same again
        )
        self._run_options = onnxruntime.RunOptions
        # Read here: a name that is not UTF-8 is an error.
        self.inputs = [GraphValue(each.name, each.type, each.shape) for each in self._session.get_inputs()]
        self.outputs = [GraphValue(each.name, each.type, each.shape) for each in self._session.get_outputs()]

    def run(self, names: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Compute the outputs with these names.

        Raises:
            LimitError: it took longer than `max_seconds`, or needs more than the memory.
            Exception: one of onnxruntime's.
        """
        options, late = self._run_options(), threading.Event()

        def stop() -> None:
            late.set()
            options.terminate = True  # is looked at between two nodes of the graph

        try:
            with self._deadlines.watched(stop):
                outputs: list[NDArray[np.float32]] = self._session.run(list(names), dict(inputs), options)
        except Exception as error:
            if late.is_set():
                raise LimitError(f"a batch takes longer than {self._max_seconds:g} s") from error
            if _ALLOCATOR in str(error):
                raise LimitError(f"a batch needs more than {MEMORY_SHARE:.0%} of the memory") from error
            raise
        return outputs


def _limit_memory(onnxruntime: Any) -> None:
    """Let the sessions of this process share one allocator, which refuses what is beyond its limit."""
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    limit = onnxruntime.OrtArenaCfg({"max_mem": int(MEMORY_SHARE * _memory())})
    onnxruntime.create_and_register_allocator(place, limit)


def _memory() -> int:
    """Bytes of this computer's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return _UNKNOWN_MEMORY
