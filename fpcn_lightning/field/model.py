"""The network of a bundle, run by onnxruntime on the CPU."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import Bundle
from fpcn_lightning.field.limited_session import GraphValue, LimitedSession
from fpcn_lightning.field.onnx_graph import graph_problem
from fpcn_lightning.field.untrusted import WAY_OUT, printable

ViewShapes = dict[str, tuple[int | None, ...]]  # by the name of an input or output, without the number of views

TOLERANCE = 1e-3  # of a sum of probabilities, which are rounded to float32


class ModelOutputs(NamedTuple):
    """What the network returns for a batch of views."""

    probabilities: NDArray[np.float32]  # [B, C], calibrated
    score: NDArray[np.float32]  # [B], higher for pictures of the kind that it was trained with
    activation_map: NDArray[np.float32] | None  # [B, C, h, w], what each place adds to the logit of each class


class BundleModel:
    """One ONNX file of a bundle, loaded.

    Args:
        bundle: the result of `read_bundle`.
        file: name of the file; None is the bundle's default.
        threads: processor cores that one batch is computed with; None uses all.

    Attributes:
        bundle: as given.
        file: name of the file.

    Raises:
        UserError: onnxruntime is missing, or the file is not the one that the bundle describes or breaks the contract.
    """

    def __init__(self, bundle: Bundle, file: str | None = None, threads: int | None = None) -> None:
        self.bundle = bundle
        self.file = bundle.chosen(file)
        self._path = bundle.folder / self.file
        data = bundle.model_bytes(self.file)
        try:
            problem = graph_problem(data)
        except ValueError as error:
            raise UserError(f"{self._path} is no ONNX file ({error}): {WAY_OUT}.") from error
        if problem is not None:
            raise UserError(f"{self._path} {problem}, which is refused: {WAY_OUT}.")
        self._session = self._load(data, threads)
        self._check_graph()

    def __call__(self, images: NDArray[np.uint8]) -> ModelOutputs:
        """Classify views.

        Args:
            images: uint8 [B, S, S, 3], RGB, S as in the bundle's views.

        Raises:
            UserError: the network fails, takes too long, or returns something else than probabilities and scores of the
                shapes that its graph declares. NaN and infinite numbers are left to the caller: a network may return
                them for one picture alone.
        """
        try:
            outputs = self._session.run(self._names, {"images": images})
        except Exception as error:  # as in `_load`
            raise UserError(f"{self._path} failed on a picture ({_first_line(error)}): {WAY_OUT}.") from error
        probabilities, score, *maps = outputs
        count = len(images)
        expected = [(count, len(self.bundle.classes)), (count,), *((*probabilities.shape, *m.shape[2:]) for m in maps)]
        if [output.shape for output in outputs] != expected:
            raise UserError(f"{self._path} returns other shapes than the network of a bundle must: {WAY_OUT}.")
        if not _are_probabilities(probabilities):
            raise UserError(
                f"{self._path} returns numbers that are no probabilities (in 0..1, with the sum 1): {WAY_OUT}."
            )
        return ModelOutputs(probabilities, score, maps[0] if maps else None)

    def quantile(self, coverage: float | None) -> float | None:
        """The limit of 1 - probability for the classes of a prediction set of this coverage; None for None.

        Raises:
            UserError: the bundle was not made with this coverage.
        """
        if coverage is None:
            return None
        quantiles = self.bundle.files[self.file]["quantiles"]
        for text, quantile in quantiles.items():
            if float(text) == coverage:
                return quantile
        known = ", ".join(quantiles) or "none"
        raise UserError(f"{self._path} has no prediction sets of coverage {coverage:g}: choose one of {known}.")

    def _load(self, data: bytes, threads: int | None) -> LimitedSession:
        try:
            return LimitedSession(data, threads)
        except UserError:
            raise
        except Exception as error:  # onnxruntime's errors have no common class
            raise UserError(f"{self._path} cannot be loaded ({_first_line(error)}): {WAY_OUT}.") from error

    def _check_graph(self) -> None:
        """Compare names, types and shapes with the contract, in which None is any number."""
        side, classes = self.bundle.views.evaluation_size, len(self.bundle.classes)
        outputs: ViewShapes = {"probabilities": (classes,), "score": ()}
        if self.bundle.activation_map:
            outputs["activation_map"] = (classes, None, None)
        self._check(self._session.inputs, {"images": (side, side, 3)}, "tensor(uint8)")
        self._check(self._session.outputs, outputs, "tensor(float)")
        self._names = list(outputs)

    def _check(self, found: list[GraphValue], expected: ViewShapes, kind: str) -> None:
        if {item.name for item in found} != set(expected):
            raise UserError(f"{self._path} must have {' and '.join(expected)}, nothing else: {WAY_OUT}.")
        for item in found:
            wanted = expected[item.name]
            count, *lengths = item.shape or [0]
            same = len(lengths) == len(wanted) and all(map(_fits, lengths, wanted))
            fits = same and not isinstance(count, int)
            if item.type != kind or not fits:
                raise UserError(
                    f"{self._path}: {item.name} is {item.type} {item.shape} and must be {kind} of any number of views "
                    f"by {list(wanted)}: {WAY_OUT}."
                )


def _fits(length: object, wanted: int | None) -> bool:
    return wanted in (length, None)


def _are_probabilities(values: NDArray[np.float32]) -> bool:
    """Whether every row [B, C] is in 0..1 and has the sum 1; rows with NaN or infinite numbers are passed over."""
    finite = values[np.isfinite(values).all(axis=1)]
    inside = (finite >= -TOLERANCE) & (finite <= 1 + TOLERANCE)
    return bool(inside.all() and (np.abs(finite.sum(axis=1, dtype=np.float64) - 1) <= TOLERANCE).all())


def _first_line(error: Exception) -> str:
    """The first line of onnxruntime's message, shortened."""
    return printable((str(error) or type(error).__name__).splitlines()[0][:200])
