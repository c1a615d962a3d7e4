"""What a graph computes decides the bytes, not how its values were called or in which order its nodes came."""

import re

import onnx
import onnx_ir as ir

from kcompress.formats.onnx.order import settle

MODEL = """
<ir_version: 9, opset_import: ["" : 18]>
main (float[N, 3] x, bool which) => (float[N, 3] copy, float[N, 3] y, float[N, 3] z)
<float[1] NUMBER = {2.0}, float[1] UNUSED = {3.0}>
{
    INNER = Mul (x, NUMBER)
    SIDE = Exp (x)
    y = Relu (INNER)
    DEAD = Neg (x)
    copy = Identity (y)
    z = If (which) <
        then_branch = THEN () => (float[N, 3] A) { A = Add (INNER, y) },
        else_branch = ELSE () => (float[N, 3] B) { OTHER = Abs (SIDE)  B = Sub (OTHER, NUMBER) }
    >
}
"""


def settled(text):
    model = ir.from_onnx_text(text)
    settle(model.graph)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def test_names_inside_do_not_matter():
    names = {
        "NUMBER": "q",
        "INNER": "weight_3",
        "SIDE": "n",
        "A": "a",
        "B": "k",
        "OTHER": "p",
        "THEN": "t",
        "ELSE": "e",
    }
    text = re.sub(r"\b(" + "|".join(names) + r")\b", lambda found: names[found[0]], MODEL)
    assert text != MODEL
    assert settled(text).SerializeToString() == settled(MODEL).SerializeToString()


def test_the_order_of_nodes_does_not_matter():
    lines = [line for line in MODEL.splitlines() if " = " in line and "branch" not in line and "<" not in line]
    text = MODEL.replace("\n".join(lines), "\n".join([lines[1], lines[3], lines[0], lines[2], lines[4]]))
    assert text != MODEL
    assert settled(text).SerializeToString() == settled(MODEL).SerializeToString()


def test_inputs_and_outputs_keep_their_names_and_what_they_do_not_need_is_left_out():
    graph = settled(MODEL).graph
    assert [value.name for value in graph.input] == ["x", "which"]
    assert [value.name for value in graph.output] == ["copy", "y", "z"]
    assert "Neg" not in {node.op_type for node in graph.node}
    assert len(graph.initializer) == 1
    assert not graph.value_info


def test_of_two_equal_outputs_the_later_one_is_the_copy():
    (node,) = (node for node in settled(MODEL).graph.node if node.op_type == "Identity")
    assert (list(node.input), list(node.output)) == (["copy"], ["y"])
