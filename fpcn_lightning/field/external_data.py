"""Finds out whether an ONNX file refers to data outside it, before any runtime opens the file.

ONNX lets a tensor be in another file, or at an address in memory. A file from an unknown source could thereby read data
that it must not, so every tensor of a bundle must be in the file itself. ONNX is written as Protocol Buffers; the
numbers below are those of the fields in `onnx.proto`, of which only the path to the tensors is followed.
"""

from collections.abc import Iterator
from typing import NamedTuple

_INSIDE: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        **dict.fromkeys((5, 10), "TensorProto"),
        **dict.fromkeys((6, 11), "GraphProto"),
        **dict.fromkeys((22, 23), "SparseTensorProto"),
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
_EXTERNAL_DATA, _LOCATION = 13, 14  # of TensorProto; the location 0 is the file itself


class _Field(NamedTuple):
    number: int
    value: int  # of a varint
    content: memoryview  # of a length-delimited field


def has_external_data(model: bytes) -> bool:
    """Whether any tensor of an ONNX model refers to data outside the file.

    Raises:
        ValueError: these bytes are no Protocol Buffers message.
    """
    pending = [("ModelProto", memoryview(model))]
    while pending:
        kind, message = pending.pop()
        for field in _fields(message):
            if kind == "TensorProto" and (
                field.number == _EXTERNAL_DATA or (field.number == _LOCATION and field.value)
            ):
                return True
            if inner := _INSIDE[kind].get(field.number):
                pending.append((inner, field.content))
    return False


def _fields(message: memoryview) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key >> 32:  # other readers drop the bits beyond
            raise ValueError("a field with an impossible number")
        value, length = 0, 0
        match key & 7:  # the wire type: varint, eight bytes, length-delimited, four bytes
            case 0:
                value, at = _varint(message, at)
            case 1:
                length = 8
            case 2:
                length, at = _varint(message, at)
            case 5:
                length = 4
            case _:
                raise ValueError("a field of an unknown type")
        if at + length > len(message):
            raise ValueError("a field that is longer than its message")
        yield _Field(key >> 3, value, message[at : at + length])
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number of seven bits per byte that begins at `at`, and where it ends."""
    value = 0
    for position, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << (7 * position)
        if byte < 128:
            return value, at + position + 1
    raise ValueError("a number without an end")
