"""The network of a bundle, run by onnxruntime on the CPU."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import Bundle
from fpcn_lightning.field.limited_session import MAX_SECONDS, GraphValue, LimitedSession
from fpcn_lightning.field.onnx_graph import graph_problem
from fpcn_lightning.field.untrusted import WAY_OUT, printable

ViewShapes = dict[str, tuple[int | None, ...]]  # by the name of an input or output, without the number of views

TOLERANCE = 1e-3  # of a sum of probabilities, which are rounded to float32


class ModelOutputs(NamedTuple):
    """What the network returns for a batch of views."""

    probabilities: NDArray[np.float32]  # [B, C], calibrated
    score: NDArray[np.float32]  # [B], higher for pictures of the kind that it was trained with
    activation_map: NDArray[np.float32] | None  # [B, C, h, w], what each place adds to the logit of each class
    object_mask: NDArray[np.float32] | None  # [B, h, w] in 0..1, at least 1/2 where the network locates the object


class BundleModel:
    """One ONNX file of a bundle, loaded.

    Args:
        bundle: the result of `read_bundle`.
        file: name of the file; None is the bundle's default.
        threads: processor cores that one batch is computed with; None uses all.
        max_seconds: that one batch may take.

    Attributes:
        bundle: as given.
        file: name of the file.

    Raises:
        UserError: onnxruntime is missing, or the file is not the one that the bundle describes or breaks the contract.
    """

    def __init__(
        self,
        bundle: Bundle,
        file: str | None = None,
        threads: int | None = None,
        *,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
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
        self._shapes = _output_shapes(bundle)
        self._session = self._load(data, threads, max_seconds)
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
            outputs = self._session.run(list(self._shapes), {"images": images})
        except Exception as error:  # as in `_load`
            raise UserError(f"{self._path} failed on a picture ({_first_line(error)}): {WAY_OUT}.") from error
        named = dict(zip(self._shapes, outputs, strict=True))
        if not all(self._has_shape(name, values, len(images)) for name, values in named.items()):
            raise UserError(f"{self._path} returns other shapes than the network of a bundle must: {WAY_OUT}.")
        probabilities = named["probabilities"]
        if not _are_probabilities(probabilities):
            raise UserError(
                f"{self._path} returns numbers that are no probabilities (in 0..1, with the sum 1): {WAY_OUT}."
            )
        return ModelOutputs(probabilities, named["score"], named.get("activation_map"), named.get("object_mask"))

    def _has_shape(self, name: str, values: NDArray[np.float32], count: int) -> bool:
        """Whether an output has the contract's shape for `count` views, and a map at least one place."""
        found, wanted = values.shape, (count, *self._shapes[name])
        return len(found) == len(wanted) and all(map(_fits, found, wanted)) and min(found, default=1) > 0

    def try_out(self) -> None:
        """Classify a black view, so that a network that cannot be used is found before there are pictures.

        Raises:
            UserError: as the call.
        """
        side = self.bundle.views.evaluation_size
        self(np.zeros((1, side, side, 3), np.uint8))

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

    def _load(self, data: bytes, threads: int | None, max_seconds: float) -> LimitedSession:
        try:
            return LimitedSession(data, threads, max_seconds=max_seconds)
        except UserError:
            raise
        except Exception as error:  # onnxruntime's errors have no common class
            raise UserError(f"{self._path} cannot be loaded ({_first_line(error)}): {WAY_OUT}.") from error

    def _check_graph(self) -> None:
        """Compare names, types and shapes with the contract, in which None is any number."""
        side = self.bundle.views.evaluation_size
        self._check(self._session.inputs, {"images": (side, side, 3)}, "tensor(uint8)")
        self._check(self._session.outputs, self._shapes, "tensor(float)")

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


def _output_shapes(bundle: Bundle) -> ViewShapes:
    classes = len(bundle.classes)
    shapes: ViewShapes = {"probabilities": (classes,), "score": ()}
    if bundle.activation_map:
        shapes["activation_map"] = (classes, None, None)
    if bundle.object_mask:
        shapes["object_mask"] = (None, None)
    return shapes


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
