"""The network of a bundle, run by onnxruntime on the CPU."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import Bundle
from fpcn_lightning.field.external_data import has_external_data
from fpcn_lightning.field.untrusted import WAY_OUT, printable

ViewShapes = dict[str, tuple[int | None, ...]]  # by the name of an input or output, without the number of views

_FATAL = 4  # onnxruntime's highest log level: its errors reach the user as exceptions


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
            external = has_external_data(data)
        except ValueError as error:
            raise UserError(f"{self._path} is no ONNX file ({error}): {WAY_OUT}.") from error
        if external:
            raise UserError(f"{self._path} keeps weights in other files, which is refused: {WAY_OUT}.")
        self._session = self._load(data, threads)
        self._check_graph()

    def __call__(self, images: NDArray[np.uint8]) -> ModelOutputs:
        """Classify views.

        Args:
            images: uint8 [B, S, S, 3], RGB, S as in the bundle's views.

        Raises:
            UserError: the network fails, or returns other shapes than its graph declares.
        """
        try:
            outputs = self._session.run(self._names, {"images": images})
        except Exception as error:  # onnxruntime's errors have no common class
            raise UserError(f"{self._path} failed on a picture ({_first_line(error)}): {WAY_OUT}.") from error
        probabilities, score, *maps = outputs
        count = len(images)
        expected = [(count, len(self.bundle.classes)), (count,), *((*probabilities.shape, *m.shape[2:]) for m in maps)]
        if [output.shape for output in outputs] != expected:
            raise UserError(f"{self._path} returns other shapes than the network of a bundle must: {WAY_OUT}.")
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

    def _load(self, data: bytes, threads: int | None) -> Any:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError("Bundles are run by onnxruntime: pip install 'fpcn-lightning[field]'.") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = _FATAL
        # Not onnxruntime's own format, which `has_external_data` does not check.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # as above
            raise UserError(f"{self._path} cannot be loaded ({_first_line(error)}): {WAY_OUT}.") from error

    def _check_graph(self) -> None:
        """Compare names, types and shapes with the contract, in which None is any number."""
        side, classes = self.bundle.views.evaluation_size, len(self.bundle.classes)
        outputs: ViewShapes = {"probabilities": (classes,), "score": ()}
        if self.bundle.activation_map:
            outputs["activation_map"] = (classes, None, None)
        self._check(self._session.get_inputs(), {"images": (side, side, 3)}, "tensor(uint8)")
        self._check(self._session.get_outputs(), outputs, "tensor(float)")
        self._names = list(outputs)

    def _check(self, found: Any, expected: ViewShapes, kind: str) -> None:
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


def _first_line(error: Exception) -> str:
    """The first line of onnxruntime's message, shortened."""
    return printable((str(error) or type(error).__name__).splitlines()[0][:200])
