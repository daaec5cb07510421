"""The network of a bundle, run by onnxruntime on the processor."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import Bundle
from fpcn_lightning.field.checked import WAY_OUT, plain
from fpcn_lightning.field.onnx_bytes import has_external_data

Shapes = dict[str, tuple[int | None, ...]]  # by the name of an input or output, without the number of views

_FATAL = 4  # the least that onnxruntime can be told to log: errors reach the user as sentences


class Outputs(NamedTuple):
    """What the network says of a batch of views."""

    probabilities: NDArray[np.float32]  # [B, C], calibrated
    score: NDArray[np.float32]  # [B], higher for pictures of the kind that it was trained with
    activation_map: NDArray[np.float32] | None  # [B, C, h, w], what each place adds to the logit of each class


class BundleModel:
    """One ONNX file of a bundle, loaded.

    Args:
        bundle: what `read_bundle` gave.
        file: name of the file; None takes the bundle's default.
        threads: processor cores that one batch is computed with; None takes all.

    Attributes:
        bundle: as given.
        file: name of the file.

    Raises:
        UserError: onnxruntime is missing, or the file is not the one that the bundle describes or breaks the contract.
    """

    def __init__(self, bundle: Bundle, file: str | None = None, threads: int | None = None) -> None:
        self.bundle = bundle
        self.file = bundle.chosen(file)
        self._place = bundle.folder / self.file
        data = bundle.model_bytes(self.file)
        try:
            external = has_external_data(data)
        except ValueError as error:
            raise UserError(f"{self._place} is no ONNX file ({error}): {WAY_OUT}.") from error
        if external:
            raise UserError(f"{self._place} keeps weights in other files, which is refused: {WAY_OUT}.")
        self._session = self._opened(data, threads)
        self._check_graph()

    def __call__(self, images: NDArray[np.uint8]) -> Outputs:
        """Classify views.

        Args:
            images: uint8 [B, S, S, 3], RGB, S as the bundle's views say.

        Raises:
            UserError: the network fails, or answers in another shape than it promised.
        """
        try:
            outputs = self._session.run(self._names, {"images": images})
        except Exception as error:  # onnxruntime's errors share no class of their own
            raise UserError(f"{self._place} failed on a picture ({_sentence(error)}): {WAY_OUT}.") from error
        probabilities, score, *maps = outputs
        count = len(images)
        expected = [(count, len(self.bundle.classes)), (count,), *((*probabilities.shape, *m.shape[2:]) for m in maps)]
        if [output.shape for output in outputs] != expected:
            raise UserError(f"{self._place} answers in another shape than a bundle's network must: {WAY_OUT}.")
        return Outputs(probabilities, score, maps[0] if maps else None)

    def quantile(self, coverage: float | None) -> float | None:
        """What 1 - probability is at most, for the classes of a prediction set of this coverage; None asks for none.

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
        raise UserError(f"{self._place} has no prediction sets of coverage {coverage:g}: ask for one of {known}.")

    def _opened(self, data: bytes, threads: int | None) -> Any:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError("Bundles are run by onnxruntime: pip install 'fpcn-lightning[field]'.") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = _FATAL
        options.add_session_config_entry(
            "session.load_model_format", "ONNX"
        )  # not its own format, which is not checked
        try:
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # as above
            raise UserError(f"{self._place} cannot be loaded ({_sentence(error)}): {WAY_OUT}.") from error

    def _check_graph(self) -> None:
        """Compare names, types and shapes with the contract, where None stands for any number."""
        side, classes = self.bundle.views.evaluation_side, len(self.bundle.classes)
        outputs: Shapes = {"probabilities": (classes,), "score": ()}
        if self.bundle.activation_map:
            outputs["activation_map"] = (classes, None, None)
        self._check(self._session.get_inputs(), {"images": (side, side, 3)}, "tensor(uint8)")
        self._check(self._session.get_outputs(), outputs, "tensor(float)")
        self._names = list(outputs)

    def _check(self, found: Any, wanted: Shapes, kind: str) -> None:
        if {item.name for item in found} != set(wanted):
            raise UserError(f"{self._place} must have {' and '.join(wanted)}, nothing else: {WAY_OUT}.")
        for item in found:
            expected = wanted[item.name]
            count, *sides = item.shape or [0]
            same = len(sides) == len(expected) and all(map(_fits, sides, expected))
            fits = same and not isinstance(count, int)
            if item.type != kind or not fits:
                raise UserError(
                    f"{self._place}: {item.name} is {item.type} {item.shape} and must be {kind} of any number of views "
                    f"by {list(expected)}: {WAY_OUT}."
                )


def _fits(side: object, wanted: int | None) -> bool:
    return wanted in (side, None)


def _sentence(error: Exception) -> str:
    """The first line of what onnxruntime says, short."""
    return plain((str(error) or type(error).__name__).splitlines()[0][:200])
