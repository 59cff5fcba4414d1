"""Attention in f32, forward and forward + backward, beside torch's scaled_dot_product_attention and, forward only and where it is
installed, ONNX Runtime's MultiHeadAttention.

usage: attention.py FOVEA THREADS ROUNDS
"""

import sys

import torch

from side import fovea, row, times_ms

SHAPES = [(8, 12, 32, 64), (8, 12, 128, 64), (4, 12, 512, 64), (1, 12, 2048, 64), (1, 4, 4096, 64), (1, 8, 1024, 128)]


def repeats(shape):
    """Enough runs to meet a quiet moment, about a third of a second."""
    b, h, length, d = shape
    return max(3, min(50, int(3e10 / (14 * b * h * length * length * d))))


def torch_pair(shape, causal, repeat):
    q, k, v, g = (torch.randn(shape) for _ in range(4))
    attend = torch.nn.functional.scaled_dot_product_attention

    def forward():
        with torch.no_grad():
            attend(q, k, v, is_causal=causal)

    leaves = [x.clone().requires_grad_(True) for x in (q, k, v)]

    def both():
        torch.autograd.grad(attend(*leaves, is_causal=causal), leaves, g)

    return min(times_ms(forward, repeat)), min(times_ms(both, repeat))


def onnx_session(shape, causal, threads):
    """None without onnxruntime or where it has no such kernel."""
    try:
        import numpy
        import onnxruntime
        from onnx import TensorProto, helper
    except ImportError:
        return None
    b, h, length, d = shape
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [b, length, h * d]) for name in "qkvo"]
    node = helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["o"], domain="com.microsoft", num_heads=h,
                            unidirectional=int(causal))
    graph = helper.make_graph([node], "attention", values[:3], values[3:])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21),
                                                                 helper.make_opsetid("com.microsoft", 1)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a version that does not know the operator
        print(f"onnxruntime: {error}", file=sys.stderr)
        return None
    feed = {name: numpy.random.default_rng(1).standard_normal((b, length, h * d), dtype="float32") for name in "qkv"}
    return lambda: session.run(None, feed)


def times_as_fast(mine, peer):
    return peer / mine


def measure(program, threads, rounds, shape, causal):
    repeat = repeats(shape)
    text = ",".join(map(str, shape))
    session = onnx_session(shape, causal, threads)
    ours = {"forward": [], "both": []}
    torch_forward, torch_both, onnx_forward = [], [], []
    for _ in range(rounds):
        for line in fovea(program, "attention", "--shape", text, "--causal", "upper-left" if causal else "none",
                          "--threads", str(threads), "--repeat", str(repeat)):
            if line["pass"] in ours:
                ours[line["pass"]].append(float(line["best"]))
        forward, both = torch_pair(shape, causal, repeat)
        torch_forward.append(forward)
        torch_both.append(both)
        if session:
            onnx_forward.append(min(times_ms(session, repeat)))
    case = f"attention {text}{' causal' if causal else ''}"
    row(case, "forward", "ms", min(ours["forward"]), [min(torch_forward), min(onnx_forward, default=None)], times_as_fast)
    row(case, "forward + backward", "ms", min(ours["both"]), [min(torch_both), None], times_as_fast)


def main():
    program, threads, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    for shape in SHAPES:
        for causal in (False, True):
            measure(program, threads, rounds, shape, causal)


if __name__ == "__main__":
    main()
