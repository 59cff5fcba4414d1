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


def onnx_session(node, inputs, outputs, opsets, threads):
    """`inputs` and `outputs`: (name, shape), of reals unless the name is of a length."""
    from onnx import TensorProto, helper

    def info(name, shape):
        kind = TensorProto.INT32 if name in ("seqlens_k", "total_sequence_length") else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph([node], "attention", [info(*x) for x in inputs], [info(*x) for x in outputs])
    model = helper.make_model(graph, ir_version=10 if opsets[0].version < 23 else 11, opset_imports=opsets)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")  # its threads do not spin while others are timed
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def contrib_opsets():
    from onnx import helper

    return [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]


def gqa_node(past, **attributes):
    """GroupQueryAttention: causal by its nature, and the only operator with a flash kernel of its own for causal rows and windows.
    It wants the outputs that hold keys and values for the next call."""
    from onnx import helper

    names = ["past_key", "past_value"] if past else ["", ""]
    return helper.make_node("GroupQueryAttention", ["q", "k", "v", *names, "seqlens_k", "total_sequence_length"],
                            ["o", "present_key", "present_value"], domain="com.microsoft", **attributes)


def gqa_session(problem, threads):
    b, h, length, d = problem.shape
    rows, heads = [b, length, h * d], [b, h, length, d]
    node = gqa_node(False, num_heads=h, kv_num_heads=h, local_window_size=problem.window + 1 if problem.window else -1)
    return onnx_session(node, [*((name, rows) for name in "qkv"), ("seqlens_k", [b]), ("total_sequence_length", [1])],
                        [("o", rows), ("present_key", heads), ("present_value", heads)], contrib_opsets(), threads)


def onnx_candidates(tensors, threads):
    """Name, session, inputs and how to read the output, for each operator this version may have."""
    from onnx import helper

    p = tensors.problem
    b, h, length, d = p.shape
    plain = dict(zip("qkv", (x.numpy() for x in (tensors.q, tensors.k, tensors.v))))
    rows = {name: numpy.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(b, length, h * d) for name, x in plain.items()}

    def by_rows(o):
        return o.reshape(b, length, h, d).transpose(0, 2, 1, 3)

    def three(node, shape, opsets):
        return onnx_session(node, [(name, shape) for name in "qkv"], [("o", shape)], opsets, threads)

    if p.causal:
        lengths = {"seqlens_k": numpy.full(b, length - 1, numpy.int32), "total_sequence_length": numpy.array([length], numpy.int32)}
        yield "GroupQueryAttention", lambda: gqa_session(p, threads), {**rows, **lengths}, by_rows
    if p.window:
        return
    yield ("MultiHeadAttention", lambda: three(
        helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["o"], domain="com.microsoft", num_heads=h, unidirectional=int(p.causal)),
        [b, length, h * d], contrib_opsets()), rows, by_rows)
    for opset in (23, 24):
        yield (f"Attention-{opset}", lambda opset=opset: three(
            helper.make_node("Attention", ["q", "k", "v"], ["o"], is_causal=int(p.causal)), [b, h, length, d],
            [helper.make_opsetid("", opset)]), plain, lambda o: o)


def onnx_side(tensors, truth, threads):
    """The fastest of its operators that is right: (run, name)."""
    if onnxruntime is None:
        return None, ""
    best, best_ms, best_name = None, float("inf"), ""
    for name, make, feed, read in onnx_candidates(tensors, threads):
        try:
            session = make()
            tensors.compare(f"onnxruntime {name}", truth, [read(session.run(["o"], feed)[0])])
        except Wrong as error:
            say(error)
            continue
        except Exception as error:  # this version does not have the operator
            say(f"onnxruntime {name}: {str(error).splitlines()[0][:120]}")
            continue
        ms = min(times_ms(lambda: session.run(["o"], feed), 2))
        if ms < best_ms:
            best, best_ms, best_name = (lambda session=session, feed=feed: session.run(["o"], feed)), ms, name
    return best, best_name


def onnx_decoder(q, k, v, threads):
    """One new row over a cache that is full with it: GroupQueryAttention, whose present keys and values are its past ones. Returns
    what runs it, and its output. q: (1, H, 1, D); k, v: (1, KV, keys, D), the last key being the new one. None: not here."""
    if onnxruntime is None:
        return None, None
    (_, heads, _, d), (_, kv, keys, _) = q.shape, k.shape
    row, new, cache = [1, 1, heads * d], [1, 1, kv * d], [1, kv, keys, d]
    session = onnx_session(
        gqa_node(True, num_heads=heads, kv_num_heads=kv),
        [("q", row), ("k", new), ("v", new), ("past_key", cache), ("past_value", cache), ("seqlens_k", [1]),
         ("total_sequence_length", [1])],
        [("o", row), ("present_key", cache), ("present_value", cache)], contrib_opsets(), threads)
    last = [numpy.ascontiguousarray(x[:, :, -1]).reshape(new) for x in (k, v)]
    inputs = {"q": q.reshape(row), "k": last[0], "v": last[1], "past_key": k.copy(), "past_value": v.copy(),
              "seqlens_k": numpy.array([keys - 1], numpy.int32), "total_sequence_length": numpy.array([keys], numpy.int32),
              "o": numpy.zeros(row, numpy.float32)}
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(x) for name, x in inputs.items()}
    binding = session.io_binding()
    for name in session.get_inputs():
        binding.bind_ortvalue_input(name.name, values[name.name])
    for name, value in (("o", "o"), ("present_key", "past_key"), ("present_value", "past_value")):
        binding.bind_ortvalue_output(name, values[value])
    return lambda: session.run_with_iobinding(binding), lambda: values["o"].numpy().reshape(q.shape)


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
