"""One new row for 32 query heads over 8 heads of 8,192 keys, width 128: `fovea bench decode` beside torch and, in
f32, ONNX Runtime, in turns.

The time is that of reading keys and values once, so the rate of reading is what counts.
"""

import torch

from peers import onnx_decoder, say
from side import Peer, Table, Wrong, fovea, times

HEADS, KV, KEYS, WIDTH = 32, 8, 8192, 128
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def exact_of(q, k, v):
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(q.double(), k.double().repeat_interleave(HEADS // KV, 1), v.double().repeat_interleave(HEADS // KV, 1))


def check(who, dtype, out, exact):
    error = float((out.double() - exact).norm() / exact.norm())
    if not error <= (1e-4 if dtype == "f32" else 2e-2):
        raise Wrong(f"{who}: decoding in {dtype} differs from f64 by {error:.2g}")


def peers_of(dtype, threads):
    """{name: Peer}"""
    q, k, v = (torch.randn(1, heads, length, WIDTH).to(DTYPES[dtype]) for heads, length in ((HEADS, 1), (KV, KEYS), (KV, KEYS)))
    attend, exact = torch.nn.functional.scaled_dot_product_attention, exact_of(q, k, v)

    def run():
        with torch.no_grad():
            return attend(q, k, v, enable_gqa=True)

    check("torch", dtype, run(), exact)
    peers = {"torch": Peer(run)}
    step, output = onnx_decoder(q.numpy(), k.numpy(), v.numpy(), threads) if dtype == "f32" else (None, None)
    if step:
        step()
        check("onnxruntime", dtype, torch.from_numpy(output()), exact)
        peers["onnxruntime"] = Peer(step)
    return peers


def ours(options, dtype):
    """The best of the times `fovea bench decode` reports, with what it says about it."""
    rows = fovea(options.fovea, "bench", "decode", "--shape", f"1,{HEADS}/{KV},{KEYS},{WIDTH}", "--dtype", dtype,
                 "--threads", str(options.threads), "--repeat", "30")
    return min(rows, key=lambda row: float(row["best"]))


def compare(options):
    table = Table(["decode", "type", "fovea ms", "GB/s", "% of read", "torch ms", "x", "onnxruntime ms", "x"], options.markdown)
    found, left_out = [], []
    for dtype in DTYPES:
        try:
            peers, best = peers_of(dtype, options.threads), None
            for _ in range(options.rounds):
                row = ours(options, dtype)
                best = row if best is None or float(row["best"]) < float(best["best"]) else best
                for peer in peers.values():
                    peer.turn(30)
        except Wrong as error:
            say(f"decode {dtype}: left out\n{error}")
            left_out.append(f"decode {dtype}")
            continue
        ms, share = float(best["best"]), next(float(best[name]) for name in best if name.startswith("%"))
        rate = next(float(best[name]) for name in best if name.startswith("GB/s"))
        case, cells = f"1,{HEADS}/{KV},{KEYS},{WIDTH}", []
        for name in ("torch", "onnxruntime"):
            cells += [peers[name].ms, times(peers[name].ms / ms)] if name in peers else [None, None]
        table.row([case, dtype, ms, rate, share, *cells])
        rival = min(peers, key=lambda name: peers[name].ms)
        found.append({"group": "decode", "case": f"{case} {dtype}", "pass": "forward",
                      "ms": {"fovea": ms, **{name: peer.ms for name, peer in peers.items()}}, "share_of_read": share,
                      "best_peer": rival, "ratio": peers[rival].ms / ms})
    return found, left_out
