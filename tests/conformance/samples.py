"""Writes the ONNX node tests of some operators as safetensors, one file a test.

    python samples.py FOLDER            all of them
    python samples.py --spoil FOLDER    one of each operator and output, with one number that is 1 % too large

The tests are those of the installed package `onnx`: the files it carries (up to 1.22) or the Python cases that made them.
A file holds inputs in.NAME and outputs out.NAME; its metadata says the operator, its attributes as JSON, the names of its
inputs and outputs in their order ("" where one is left out), the tolerances, and the version of onnx: texts of one operator
set have been corrected from version to version.
"""
import contextlib
import glob
import io
import json
import os
import sys
import warnings

import onnx
from onnx import helper, numpy_helper

import tensor_file

OPERATORS = ["Attention", "RotaryEmbedding", "LayerNormalization", "RMSNormalization", "Gelu"]
TYPES = {"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "bool": "BOOL",
         "int8": "I8", "uint8": "U8", "int16": "I16", "uint16": "U16", "int32": "I32", "uint32": "U32",
         "int64": "I64", "uint64": "U64"}


def array(value):
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def shipped(folder):
    """(name, model, inputs, outputs, tolerances) of the files in the package."""
    for path in sorted(glob.glob(os.path.join(folder, "test_*", "model.onnx"))):
        model = onnx.load(path)
        data = os.path.join(os.path.dirname(path), "test_data_set_0")

        def read(kind, count):
            found = []
            for i in range(count):
                with open(os.path.join(data, f"{kind}_{i}.pb"), "rb") as file:
                    found.append(onnx.TensorProto.FromString(file.read()))
            return found

        if len(model.graph.node) == 1 and model.graph.node[0].op_type in OPERATORS:
            yield (os.path.basename(os.path.dirname(path)), model, read("input", len(model.graph.input)),
                   read("output", len(model.graph.output)), {})


def made():
    import onnx.backend.test.case.node as node

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        cases = node.collect_testcases()
    for case in cases:
        if case.model is not None and len(case.model.graph.node) == 1:
            inputs, outputs = case.data_sets[0]
            yield case.name, case.model, inputs, outputs, {"rtol": case.rtol, "atol": case.atol}


def attribute(value):
    return value.decode() if isinstance(value, bytes) else value


def write(path, tensors, metadata):
    tensor_file.write(path, {name: (TYPES[x.dtype.name], x.shape, x.tobytes()) for name, x in tensors.items()}, metadata)


def sample(model, inputs, outputs, tolerances):
    node = model.graph.node[0]
    tensors = {}
    for info, value in zip(model.graph.input, inputs):
        tensors["in." + info.name] = array(value)
    for info, value in zip(model.graph.output, outputs):
        tensors["out." + info.name] = array(value)
    metadata = {"op": node.op_type,
                "attributes": json.dumps({a.name: attribute(helper.get_attribute_value(a)) for a in node.attribute}),
                "node_inputs": json.dumps(list(node.input)),
                "node_outputs": json.dumps(list(node.output)),
                "onnx": onnx.__version__}
    metadata.update({key: repr(value) for key, value in tolerances.items()})
    return tensors, metadata


def spoiled(tensors):
    """The same sample once for each output, with the largest number of it off by 1 % (bf16 has steps of 0.8 %: 5 %)."""
    for name, value in tensors.items():
        if name.startswith("out."):
            wrong = value.astype("float64")
            index = int(abs(wrong).argmax())
            wrong.flat[index] *= 1.05 if value.dtype.name == "bfloat16" else 1.01
            yield name, {**tensors, name: wrong.astype(value.dtype)}


def main():
    spoil = sys.argv[1] == "--spoil"
    folder = sys.argv[1 + spoil]
    carried = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "node")
    os.makedirs(folder, exist_ok=True)
    counts, done = dict.fromkeys(OPERATORS, 0), set()
    for name, model, inputs, outputs, tolerances in shipped(carried) if os.path.isdir(carried) else made():
        operator = model.graph.node[0].op_type
        # *_expanded: the operator written out in others, a test of those; some consist of one node
        if operator not in OPERATORS or "_expanded" in name:
            continue
        counts[operator] += 1
        name = name.removeprefix("test_")
        tensors, metadata = sample(model, inputs, outputs, tolerances)
        if not spoil:
            write(os.path.join(folder, name + ".safetensors"), tensors, metadata)
            continue
        for output, wrong in spoiled(tensors):
            if (operator, output, wrong[output].dtype.name) not in done:
                done.add((operator, output, wrong[output].dtype.name))
                write(os.path.join(folder, f"{name}-{output}.safetensors"), wrong, metadata)
    print("onnx", onnx.__version__ + ":", f"{len(done)} spoiled" if spoil else
          ", ".join(f"{key} {value}" for key, value in counts.items()))
    return 0 if all(counts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
