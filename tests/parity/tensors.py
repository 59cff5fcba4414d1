"""Tensors in .safetensors files, and fovea's dropout mask rebuilt from its description in docs/how-to/conformance.md."""
import json

import numpy
import torch

import tensor_file

TYPES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.bool: "BOOL",
         torch.int32: "I32", torch.int64: "I64"}
DTYPES = {name: dtype for dtype, name in TYPES.items()}


def raw(tensor):
    flat = tensor.detach().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def write(path, tensors):
    tensor_file.write(path, {name: (TYPES[x.dtype], x.shape, raw(x)) for name, x in tensors.items()})


def read(path):
    with open(path, "rb") as file:
        data = bytearray(file.read())
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, about in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        begin, end = about["data_offsets"]
        dtype = DTYPES[about["dtype"]]
        raw = data[start + begin:start + end]
        flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        tensors[name] = flat.clone().reshape(about["shape"])
    return tensors


def philox(counter, seed):
    """Philox 4x32 with ten rounds (Salmon et al., 2011) on arrays of counters."""
    low = numpy.uint64(0xFFFFFFFF)
    c = [numpy.asarray(x, dtype=numpy.uint64) for x in counter]
    key = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(10):
        p0, p1 = c[0] * numpy.uint64(0xD2511F53), c[2] * numpy.uint64(0xCD9E8D57)
        c = [(p1 >> numpy.uint64(32)) ^ c[1] ^ numpy.uint64(key[0]), p1 & low,
             (p0 >> numpy.uint64(32)) ^ c[3] ^ numpy.uint64(key[1]), p0 & low]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def kept(rate, seed, stream, rows, columns):
    """What the dropout of one (sequence, head) multiplies the weights with: 0, or 1/(1 - rate) of the rate in steps of 2^-16."""
    steps = min(max(round(rate * 65536), 1), 65535)
    i, j = numpy.arange(rows).reshape(-1, 1), numpy.arange(columns).reshape(1, -1)
    i, j = numpy.broadcast_arrays(i, j)
    words = numpy.stack(philox((i // 32 * 16 + i % 16, j // 64 * 16 + j % 16, numpy.full(i.shape, stream & 0xFFFFFFFF),
                                numpy.full(i.shape, stream >> 32)), seed))
    word = numpy.take_along_axis(words, (j // 16 % 4)[None], 0)[0]
    bits = numpy.where(i // 16 % 2 == 1, word >> numpy.uint64(16), word & numpy.uint64(0xFFFF))
    return torch.from_numpy((bits >= steps) * (65536 / (65536 - steps)))
