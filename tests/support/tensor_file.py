"""Writes .safetensors files for the tests and comparisons that are written in Python: eight bytes with the length of a JSON header, the
header, the data."""
import json


def write(path, tensors, metadata=None):
    """tensors: {name: (type as the format spells it, shape, bytes in C order)}, in the order of the file."""
    header, at = {"__metadata__": metadata} if metadata else {}, 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + memoryview(data).nbytes]}
        at += memoryview(data).nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, _, data in tensors.values():
            file.write(data)
