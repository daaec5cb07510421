"""The network of a bundle: what it predicts, and which files are refused."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fpcn_lightning.errors import MissingPackage, UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.limited_session import LimitedSession, LimitError
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.onnx_graph import graph_problem
from tests.field.conftest import BRIGHT, SIDE, MakeBundle, colour_network

EXTERNAL = "keeps weights in other files"
IMAGES = np.random.default_rng(3).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)


def test_outputs_are_those_of_the_network(bundle_folder: Path) -> None:
    outputs = BundleModel(read_bundle(bundle_folder), threads=1)(IMAGES)
    logits = 8 * IMAGES.mean((1, 2)) / 255
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(outputs.probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(outputs.score, expected.max(1), atol=1e-6)
    assert outputs.activation_map is not None
    np.testing.assert_allclose(outputs.activation_map.sum((2, 3)), logits, atol=1e-5)
    assert {values.dtype for values in outputs if values is not None} == {np.dtype(np.float32)}


def test_a_network_without_activation_map(make_bundle: MakeBundle) -> None:
    model = colour_network()
    del model.graph.output[2]
    assert BundleModel(read_bundle(make_bundle(model=model, activation_map=False)))(IMAGES).activation_map is None


def test_a_network_with_object_mask(make_bundle: MakeBundle) -> None:
    bundle = read_bundle(make_bundle(model=colour_network(masked=True), object_mask=True))
    images = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    images[1, 8:16, 24:] = (0, 0, 2 * BRIGHT)
    mask = BundleModel(bundle)(images).object_mask
    assert mask is not None
    assert mask.shape == (2, 4, 4)
    assert np.argwhere(mask).tolist() == [[1, 1, 3]]


def test_a_map_without_places_is_an_error(make_bundle: MakeBundle) -> None:
    """The page could not draw it."""
    model = colour_network()
    model.graph.node[2].output[0] = model.graph.node[3].input[0] = "contributions"
    model.graph.node.append(helper.make_node("Slice", ["contributions", "none", "none", "rows"], ["activation_map"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0]), "none"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([2]), "rows"))
    model.graph.output[2].type.tensor_type.shape.dim[2].dim_param = "rows"
    with pytest.raises(UserError, match="returns other shapes"):
        BundleModel(read_bundle(make_bundle(model=model)))(IMAGES)


def lost(model: onnx.ModelProto) -> None:
    model.graph.output.pop()


def renamed(model: onnx.ModelProto) -> None:
    model.graph.output[1].name = "logits"


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.UINT8, [1]))


def fixed_batch(model: onnx.ModelProto) -> None:
    model.CopyFrom(colour_network(batch=1))


def other_side(model: onnx.ModelProto) -> None:
    model.CopyFrom(colour_network(side=2 * SIDE))


def other_classes(model: onnx.ModelProto) -> None:
    model.CopyFrom(colour_network(classes=4))


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "foreign"


def wrong_type(model: onnx.ModelProto) -> None:
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64


@pytest.mark.parametrize(
    "change", [lost, renamed, second_input, fixed_batch, other_side, other_classes, unknown_operator, wrong_type]
)
def test_a_graph_that_breaks_the_contract(make_bundle: MakeBundle, change: Callable[[onnx.ModelProto], None]) -> None:
    model = colour_network()
    change(model)
    bundle = read_bundle(make_bundle(model=model))
    with pytest.raises(UserError, match=r"model\.onnx"):
        BundleModel(bundle)


def test_a_graph_with_wrong_shapes(make_bundle: MakeBundle) -> None:
    model = colour_network()
    model.graph.node[-1].input[0] = "logits"
    model.graph.node[-1].op_type = "Identity"
    del model.graph.node[-1].input[1], model.graph.node[-1].attribute[:]
    bundle = read_bundle(make_bundle(model=model))
    with pytest.raises(UserError, match=r"model\.onnx"):
        BundleModel(bundle)(IMAGES)


@pytest.mark.parametrize("data", [b"no ONNX at all", b"\x08\x09", b"\xff" * 40, b"\x00\x00\x00\x00ORTM" + b"\0" * 60])
def test_other_files_than_onnx(make_bundle: MakeBundle, data: bytes) -> None:
    with pytest.raises(UserError, match=r"model\.onnx"):
        BundleModel(read_bundle(make_bundle(model=data)))


def in_initializer(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.graph.initializer.append(tensor)


def in_sparse(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(tensor)


def in_attribute(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["external"], value=tensor))


def in_subgraph(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    branch = helper.make_graph([], "branch", [], [], [tensor])
    model.graph.node.append(helper.make_node("If", ["yes"], ["external"], then_branch=branch, else_branch=branch))


def in_function(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    node = helper.make_node("Constant", [], ["external"], value=tensor)
    model.functions.append(helper.make_function("foreign", "F", [], ["external"], [node], []))


def in_training(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.training_info.add().algorithm.initializer.append(tensor)


PLACES = [in_initializer, in_sparse, in_attribute, in_subgraph, in_function, in_training]
Place = Callable[[onnx.ModelProto, onnx.TensorProto], None]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "*/_ORT_MEM_ADDR_/*"])
def test_tensors_outside_the_file_are_refused(make_bundle: MakeBundle, place: Place, location: str) -> None:
    tensor = TensorProto(name="external", data_type=TensorProto.UINT8, dims=[8], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    model = colour_network()
    place(model, tensor)
    with pytest.raises(UserError, match="keeps weights in other files"):
        BundleModel(read_bundle(make_bundle(model=model)))


@pytest.mark.parametrize("place", PLACES)
def test_tensors_in_the_file_are_distinguished_from_those_outside(place: Place) -> None:
    tensor = numpy_helper.from_array(np.arange(300, dtype=np.int64), "own")
    tensor.data_location = TensorProto.DEFAULT
    model = colour_network()
    place(model, tensor)
    assert graph_problem(model.SerializeToString()) != EXTERNAL
    tensor.data_location = TensorProto.EXTERNAL
    place(model, tensor)
    assert graph_problem(model.SerializeToString()) == EXTERNAL


def test_field_numbers_beyond_32_bits_are_refused() -> None:
    """A reader with 32 bits reads the key of the first field as that of `graph`."""
    key = 7 << 3 | 2
    hidden = bytes([key | 128, 128, 128, 128, 16])
    with pytest.raises(ValueError, match="impossible number"):
        graph_problem(hidden + b"\0")
    assert graph_problem(bytes([key, 0])) is None


def test_the_quantile_of_a_coverage(bundle_folder: Path) -> None:
    model = BundleModel(read_bundle(bundle_folder))
    assert [model.quantile(coverage) for coverage in (None, 0.9, 0.99)] == [None, 0.6, 0.9999]
    with pytest.raises(UserError, match=r"choose one of 0\.9, 0\.99"):
        model.quantile(0.85)


def test_a_missing_onnxruntime_is_no_fault_of_the_bundle(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackage, match="which is not installed: pip install fpcn-lightning"):
        BundleModel(read_bundle(bundle_folder))


def loop() -> onnx.ModelProto:
    """A network with a loop around the identity that does not end within a lifetime."""
    more = numpy_helper.from_array(np.array(True), "more")
    body = helper.make_graph(
        [helper.make_node("Identity", ["keep"], ["again"]), helper.make_node("Identity", ["before"], ["after"])],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("keep", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.UINT8, None),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.UINT8, None),
        ],
    )
    return before_the_network([helper.make_node("Loop", ["", "more", "images"], ["ready"], body=body)], more)


def before_the_network(nodes: list[onnx.NodeProto], *tensors: onnx.TensorProto) -> onnx.ModelProto:
    """The colour network with nodes before it that turn `images` into `ready`."""
    model = colour_network()
    model.graph.node[0].input[0] = "ready"
    own = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *own])
    model.graph.initializer.extend(tensors)
    return model


def branch() -> onnx.ModelProto:
    always = numpy_helper.from_array(np.array(True), "always")
    out = helper.make_tensor_value_info("out", TensorProto.UINT8, None)
    same = helper.make_graph([helper.make_node("Identity", ["images"], ["out"])], "same", [], [out])
    node = helper.make_node("If", ["always"], ["ready"], then_branch=same, else_branch=same)
    return before_the_network([node], always)


def foreign_operator() -> onnx.ModelProto:
    model = before_the_network([helper.make_node("Gelu", ["images"], ["ready"], domain="com.microsoft")])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def own_function() -> onnx.ModelProto:
    model = before_the_network([helper.make_node("Identity", ["images"], ["ready"])])
    node = helper.make_node("Identity", ["a"], ["b"])
    model.functions.append(helper.make_function("", "Same", ["a"], ["b"], [node], [helper.make_opsetid("", 18)]))
    return model


def sparse_tensor() -> onnx.ModelProto:
    model = before_the_network([helper.make_node("Identity", ["images"], ["ready"])])
    sparse = model.graph.sparse_initializer.add(dims=[2**20, 2**20])
    sparse.values.CopyFrom(numpy_helper.from_array(np.zeros(1, np.float32), "huge"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64), "places"))
    return model


def training_graph() -> onnx.ModelProto:
    model = colour_network()
    model.training_info.add().algorithm.name = "step"
    return model


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (loop, r"has a graph inside a node \(Loop"),
        (branch, "has a graph inside a node"),
        (foreign_operator, "has an operator outside the ONNX standard"),
        (own_function, "defines operators of its own"),
        (sparse_tensor, "has sparse tensors"),
        (training_graph, "has a graph for training"),
    ],
)
def test_what_no_network_of_a_bundle_has_is_refused_before_it_is_loaded(
    make: Callable[[], onnx.ModelProto], reason: str, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpcn_lightning.field.model.LimitedSession", None)
    with pytest.raises(UserError, match=rf"model\.onnx {reason}.*, which is refused: get the bundle again"):
        BundleModel(read_bundle(make_bundle(model=make())))


def test_more_fields_than_any_network_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading two gigabytes of one-byte fields would take hours."""
    monkeypatch.setattr("fpcn_lightning.field.onnx_graph.MAX_FIELDS", 50)
    with pytest.raises(ValueError, match="more than"):
        graph_problem(b"\x08\x09" * 51)
    monkeypatch.setattr("fpcn_lightning.field.onnx_graph.MAX_NODES", 2)
    with pytest.raises(ValueError, match="more than"):
        graph_problem(colour_network().SerializeToString())


def too_much_memory() -> onnx.ModelProto:
    """A few bytes ask for more than the memory of this computer, in a tensor whose pages would be written."""
    shape = numpy_helper.from_array(np.array([2**32 // SIDE**2, 1, 1, 1, 1]), "shape")
    first = numpy_helper.from_array(np.array([0]), "first")
    nodes = [
        helper.make_node("Cast", ["images"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Expand", ["wide", "shape"], ["huge"]),
        helper.make_node("ReduceMax", ["huge", "first"], ["ready"], keepdims=0),
    ]
    return before_the_network(nodes, shape, first)


def test_a_graph_that_asks_for_too_much_memory_is_an_error(make_bundle: MakeBundle) -> None:
    model = BundleModel(read_bundle(make_bundle(model=too_much_memory())))
    with pytest.raises(UserError, match=r"failed on a picture \(a batch needs more than 50% of the memory\)"):
        model(IMAGES)


def test_a_batch_that_takes_too_long_is_stopped() -> None:
    size = numpy_helper.from_array(np.array([256, 256]), "size")
    ends = numpy_helper.from_array(np.array([0, 1]), "ends")
    zero = numpy_helper.from_array(np.zeros(1, np.float32))
    nodes = [helper.make_node("ConstantOfShape", ["size"], ["m0"], value=zero)]
    nodes += [helper.make_node("MatMul", [f"m{step}", f"m{step}"], [f"m{step + 1}"]) for step in range(1000)]
    nodes += [
        helper.make_node("ReduceSum", ["m1000", "ends"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["none"], to=TensorProto.UINT8),
        helper.make_node("Add", ["images", "none"], ["ready"]),
    ]
    session = LimitedSession(before_the_network(nodes, size, ends).SerializeToString(), 1, max_seconds=0.1)
    with pytest.raises(LimitError, match=r"a batch takes longer than 0\.1 s"):
        session.run(["score"], {"images": IMAGES})


@pytest.mark.parametrize("factor", [2.0, 0.5, -1.0])
def test_outputs_that_are_no_probabilities_are_an_error(factor: float, make_bundle: MakeBundle) -> None:
    model = colour_network()
    model.graph.node[4].output[0] = "shares"
    model.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
    model.graph.node.insert(5, helper.make_node("Mul", ["shares", "factor"], ["probabilities"]))
    opened = BundleModel(read_bundle(make_bundle(model=model)))
    with pytest.raises(UserError, match="numbers that are no probabilities"):
        opened(IMAGES)


@pytest.mark.parametrize("name", [b"images", b"probabilities"])
def test_names_that_are_not_utf8_are_an_error(name: bytes, make_bundle: MakeBundle) -> None:
    data = colour_network().SerializeToString().replace(name, b"\xb0" + name[1:])
    with pytest.raises(UserError, match=r"model\.onnx"):
        BundleModel(read_bundle(make_bundle(model=data)))
