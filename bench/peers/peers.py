"""The other libraries, each as a callable that computes one problem. A side that cannot is None."""

import sys

import numpy
import torch

from side import Wrong, times_ms

try:
    import onnx
    import onnxruntime
except ImportError:
    onnxruntime = None
try:
    import openvino
    from openvino import opset13
except ImportError:
    openvino = None


def say(text):
    print(f"bench/peers: {text}", file=sys.stderr, flush=True)


# ---- torch ---------------------------------------------------------------------------------------------------------------------


def padded(x, lengths):
    """(1, H, tokens, D) as (sentences, H, longest, D)."""
    parts = torch.split(x[0].transpose(0, 1), lengths)
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True).transpose(1, 2).contiguous()


def unpadded(x, lengths):
    return torch.cat([x[i, :, :n] for i, n in enumerate(lengths)], 1)[None]


def torch_side(tensors):
    """(forward, both, outputs): both returns out and the gradients; outputs puts what came out into the problem's layout."""
    p = tensors.problem
    leaves, g = [tensors.q, tensors.k, tensors.v], tensors.g
    options = {"is_causal": p.causal, "dropout_p": p.dropout}
    if p.lengths:
        leaves, g = [padded(x, p.lengths) for x in leaves], padded(g, p.lengths)
        longest = max(p.lengths)
        options["attn_mask"] = (torch.arange(longest)[None] < torch.tensor(p.lengths)[:, None])[:, None, None]
    elif p.window:
        options = {"attn_mask": tensors.mask(), "dropout_p": p.dropout}
    leaves = [x.clone().requires_grad_(True) for x in leaves]
    if p.bias:
        options["attn_mask"] = tensors.bias.clone().requires_grad_(True)
        leaves.append(options["attn_mask"])
    attend = torch.nn.functional.scaled_dot_product_attention

    def forward():
        with torch.no_grad():
            return attend(*leaves[:3], **options)

    def both():
        out = attend(*leaves[:3], **options)
        return [out, *torch.autograd.grad(out, leaves, g)]

    def outputs(found):
        return [unpadded(x, p.lengths) if p.lengths else x for x in found]

    return forward, both, outputs


# ---- ONNX Runtime, forward -----------------------------------------------------------------------------------------------------


def onnx_session(node, shape, opsets, threads):
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "qkvo"]
    graph = helper.make_graph([node], "attention", values[:3], values[3:])
    model = helper.make_model(graph, ir_version=10 if opsets[0].version < 23 else 11, opset_imports=opsets)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")  # its threads do not spin while others are timed
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_candidates(tensors, threads):
    """Name, session, inputs and how to read the output, for each operator this version may have."""
    from onnx import helper

    p = tensors.problem
    b, h, length, d = p.shape
    plain = [x.numpy() for x in (tensors.q, tensors.k, tensors.v)]
    rows = [numpy.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(b, length, h * d) for x in plain]
    yield ("MultiHeadAttention", lambda: onnx_session(
        helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["o"], domain="com.microsoft", num_heads=h, unidirectional=int(p.causal)),
        [b, length, h * d], [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], threads),
        rows, lambda o: o.reshape(b, length, h, d).transpose(0, 2, 1, 3))
    for opset in (23, 24):
        yield (f"Attention-{opset}", lambda opset=opset: onnx_session(
            helper.make_node("Attention", ["q", "k", "v"], ["o"], is_causal=int(p.causal)), [b, h, length, d],
            [helper.make_opsetid("", opset)], threads), plain, lambda o: o)


def onnx_side(tensors, truth, threads):
    """The fastest of its operators that is right: (run, name)."""
    if onnxruntime is None:
        return None, ""
    best, best_ms, best_name = None, float("inf"), ""
    for name, make, inputs, read in onnx_candidates(tensors, threads):
        feed = dict(zip("qkv", inputs))
        try:
            session = make()
            tensors.compare(f"onnxruntime {name}", truth, [read(session.run(None, feed)[0])])
        except Wrong as error:
            say(error)
            continue
        except Exception as error:  # this version does not have the operator
            say(f"onnxruntime {name}: {str(error).splitlines()[0][:120]}")
            continue
        ms = min(times_ms(lambda: session.run(None, feed), 2))
        if ms < best_ms:
            best, best_ms, best_name = (lambda session=session, feed=feed: session.run(None, feed)), ms, name
    return best, best_name


# ---- OpenVINO, forward ---------------------------------------------------------------------------------------------------------


def openvino_side(tensors, truth, threads):
    if openvino is None:
        return None
    inputs = [opset13.parameter(list(tensors.problem.shape), numpy.float32) for _ in range(3)]
    node = opset13.scaled_dot_product_attention(*inputs, causal=tensors.problem.causal)
    model = openvino.Core().compile_model(
        openvino.Model([node], inputs, "attention"), "CPU",
        {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY",
         "ENABLE_CPU_PINNING": False})  # pinned threads would stay where another side is timed
    request = model.create_infer_request()
    for i, x in enumerate((tensors.q, tensors.k, tensors.v)):
        request.set_input_tensor(i, openvino.Tensor(x.numpy(), shared_memory=True))
    request.infer()
    try:
        tensors.compare("openvino", truth, [request.get_output_tensor(0).data])
    except Wrong as error:
        say(error)
        return None
    return request.infer
