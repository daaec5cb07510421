"""Inspects the graph of an ONNX file from an unknown source, before any runtime opens the file.

What a bundle's network never needs is refused: tensors in other files or at an address in memory, by which a file could
read data that it must not; graphs inside nodes (Loop, If, Scan), which may run without an end; functions and operators
of other domains; sparse tensors, which a few bytes make as large as they like. Without these, a graph computes each of
its nodes once.

The package `onnx` is no part of the installation in the field. ONNX is written as Protocol Buffers, of which a few
lines read as much as is needed here; the numbers below are those of the fields in `onnx.proto`.
"""

from collections.abc import Iterator
from typing import NamedTuple

MAX_FIELDS = 5_000_000  # that are inspected; of a network of a thousand layers there are fewer than a hundred thousand
MAX_NODES = 20_000  # onnxruntime loads a chain of so many in less than a minute, of ten times as many in an hour

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
_DOMAIN = 7  # of NodeProto
_STANDARD_DOMAINS = (b"", b"ai.onnx")

_EXTERNAL = "keeps weights in other files"
_REFUSED = {  # by the kind of message, unless it is the model's own graph
    "GraphProto": "has a graph inside a node (Loop, If, Scan)",
    "FunctionProto": "defines operators of its own",
    "TrainingInfoProto": "has a graph for training",
    "SparseTensorProto": "has sparse tensors",
}


class _Field(NamedTuple):
    number: int
    value: int  # of a varint
    content: memoryview  # of a length-delimited field


def graph_problem(model: bytes) -> str | None:
    """What an ONNX model has that no bundle needs, as the rest of a sentence about it; None if there is nothing.

    Raises:
        ValueError: these bytes are no Protocol Buffers message, or one that is longer than any network needs.
    """
    problems, nodes, fields = set[str](), 0, 0
    pending = [("ModelProto", "", memoryview(model))]
    while pending:
        kind, parent, message = pending.pop()
        nodes += kind == "NodeProto"
        if kind in _REFUSED and (kind, parent) != ("GraphProto", "ModelProto"):
            problems.add(_REFUSED[kind])
        for field in _fields(message):
            fields += 1
            if nodes > MAX_NODES or fields > MAX_FIELDS:
                raise ValueError(f"more than {MAX_NODES:,} nodes or {MAX_FIELDS:,} fields")
            if (problem := _problem(kind, field)) is not None:
                problems.add(problem)
            if inner := _INSIDE[kind].get(field.number):
                pending.append((inner, kind, field.content))
    return _EXTERNAL if _EXTERNAL in problems else min(problems, default=None)


def _problem(kind: str, field: _Field) -> str | None:
    if kind == "TensorProto" and (field.number == _EXTERNAL_DATA or (field.number == _LOCATION and field.value)):
        return _EXTERNAL
    if kind == "NodeProto" and field.number == _DOMAIN and bytes(field.content) not in _STANDARD_DOMAINS:
        return "has an operator outside the ONNX standard"
    return None


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
