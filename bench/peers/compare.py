"""fovea beside torch, ONNX Runtime and OpenVINO, on one machine in one run. Started by bench/peers/run.

Groups: grid     nine shapes, full and causal: forward beside all peers, forward + backward beside torch
        dropout  0.1, forward + backward, beside torch and beside ourselves without it
        bias     a trained bias (1, H, L, L), forward + backward, beside torch
        window   128 keys on each side at 4,096, beside torch with a mask, and the causal one beside ONNX Runtime
        bf16     bf16 tensors, forward, beside torch
        packed   64 sentences of 5 to 60 words, beside torch on the padded batch and beside ourselves with equal lengths
        threads  two threads and one, ours and torch's
        decode   one new row, 32 query heads over 8, 8,192 keys, beside torch and ONNX Runtime
        train    training a classifier, beside torch
"""

import argparse
import json
import math
import os
import pathlib
import platform
import random
import subprocess
import sys
import tempfile
import time

import torch

import decode
import train
from peers import onnx_side, onnxruntime, openvino, openvino_side, say, torch_side
from problems import Problem, Tensors
from side import Clock, Fovea, Peer, Table, Wrong, emit, processors, put_into, times

GRID = [(8, 12, 32, 64), (8, 12, 128, 64), (4, 12, 512, 64), (1, 12, 1024, 64), (1, 12, 2048, 64), (1, 4, 4096, 64),
        (1, 1, 8192, 64), (1, 8, 1024, 128), (1, 4, 4096, 128)]
COLUMNS = ["case", "pass", "fovea ms", "GFLOP/s", "% of peak", "torch ms", "x", "onnxruntime ms", "x", "openvino ms", "x", "best x", "note"]
SENTENCES = tuple(random.Random(3).choices(range(5, 61), k=64))


def equal(lengths):
    total, n = sum(lengths), len(lengths)
    return tuple(total * (i + 1) // n - total * i // n for i in range(n))


def packed(lengths):
    return Problem((1, 12, sum(lengths), 64), lengths=lengths)


class Comparison:
    def __init__(self, options):
        self.fovea, self.threads, self.markdown = options.fovea, options.threads, options.markdown
        self.clock = Clock(options.budget, options.rounds)
        self.longest = options.longest
        self.rows, self.left_out, self.table = [], [], None

    def shapes(self, *shapes):
        return [s for s in shapes or GRID if s[2] <= self.longest]

    # ---- one row

    def measure(self, group, tensors, truth, what, others=(), ours_too=(), note=None):
        """Times `what` (forward or both): ours, torch, (name, run) of other peers, and our own variations (name, path, problem)."""
        forward, both, outputs = torch_side(tensors)
        if not tensors.problem.dropout:
            tensors.compare("torch", truth, outputs([forward()] if what == "forward" else both()))
        sides = [Fovea(self.fovea, what, *tensors.problem.words(tensors.path, what, self.threads)),
                 Peer(forward if what == "forward" else both)]
        names = ["fovea", "torch", *(name for name, _ in others), *(name for name, _, _ in ours_too)]
        sides += [Peer(run) for _, run in others]
        sides += [Fovea(self.fovea, what, *problem.words(path, what, self.threads)) for _, path, problem in ours_too]
        try:
            self.clock.run(sides)
        finally:
            for side in sides:
                side.close()
        ms = {name: side.ms for name, side in zip(names, sides)}
        self.report(group, tensors.problem.name, what, ms, sides[0].best, note)

    def report(self, group, case, what, ms, best, note):
        if self.table is None:
            self.table = Table(COLUMNS, self.markdown)
        peers = {name: ms[name] / ms["fovea"] for name in ("torch", "onnxruntime", "openvino") if name in ms}
        notes = [note] if note else []
        notes += [f"{ms['fovea'] / value:.2f} times the time {name}" for name, value in ms.items() if name not in peers and name != "fovea"]
        cells = [case, "forward" if what == "forward" else "fwd + bwd", ms["fovea"], float(best["GFLOP/s"]), float(best["% of peak"])]
        for name in ("torch", "onnxruntime", "openvino"):
            cells += [ms.get(name), times(peers.get(name))]
        self.table.row(cells + [times(min(peers.values())), ", ".join(notes)])
        rival = min(peers, key=peers.get)
        self.rows.append({"group": group, "case": case, "pass": what, "ms": ms, "gflops": float(best["GFLOP/s"]),
                          "share_of_peak": float(best["% of peak"]), "best_peer": rival, "ratio": peers[rival], "note": notes})

    def case(self, group, problem, passes, folder, all_peers=False, ours_too=()):
        tensors = Tensors(problem, folder)
        truth = tensors.truth("both" in passes)
        tensors.check_fovea(self.fovea, truth, folder)
        for what in passes:
            others, note = [], None
            if all_peers and what == "forward":
                run, operator = onnx_side(tensors, truth, self.threads)
                others, note = [("onnxruntime", run)] if run else [], operator
                run = None if problem.window else openvino_side(tensors, truth, self.threads)
                others += [("openvino", run)] if run else []
            self.measure(group, tensors, truth, what, others, ours_too, note)

    # ---- groups: a list of (problem, passes, ours too), or a function of its own

    def plan(self, group):
        long = self.shapes((4, 12, 512, 64), (1, 12, 2048, 64), (1, 4, 4096, 64))
        if group == "grid":
            return [(Problem(s, causal), ["forward", "both"], None) for s in self.shapes() for causal in (False, True)]
        if group == "dropout":
            return [(Problem(s, causal, dropout=0.1), ["both"], ("without dropout", Problem(s, causal)))
                    for s in self.shapes((8, 12, 128, 64)) + long for causal in (False, True)]
        if group == "bias":
            return [(Problem(s, bias=True), ["both"], None) for s in long]
        if group == "window":
            return [(Problem(s, causal, window=128), ["forward", "both"], None)
                    for s in self.shapes((1, 4, 4096, 64)) for causal in (False, True)]
        if group == "bf16":
            return [(Problem(s, causal, dtype="bf16"), ["forward"], None)
                    for s in self.shapes((4, 12, 512, 64), (1, 12, 2048, 64)) for causal in (False, True)]
        if group == "packed":
            return [(packed(SENTENCES), ["forward", "both"], ("in equal lengths", packed(equal(SENTENCES))))]
        return []

    def sides_of(self, group):
        """How many turns a round of it has, to share the time."""
        if group == "threads":
            return 16
        return sum(len(passes) * (3 if too else 2) + (2 if group == "grid" else 1 if group == "window" else 0) for _, passes, too in self.plan(group))

    def run(self, group):
        for problem, passes, too in self.plan(group):
            with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
                ours_too = []
                if too:
                    name, second = too
                    path = Tensors(second, other).path
                    ours_too = [(name, path, second)]
                try:
                    self.case(group, problem, passes, folder, group in ("grid", "window"), ours_too)
                except Wrong as error:
                    say(f"{problem.name}: left out\n{error}")
                    self.left_out.append(problem.name)
        if group == "threads":
            self.scaling()

    def scaling(self):
        """Two threads and one, ours and torch's."""
        table = Table(["case", "pass", "fovea 1", "fovea 2", "times", "torch 1", "torch 2", "times"], self.markdown)
        for shape in self.shapes((1, 1, 8192, 64), (8, 12, 128, 64)):
            with tempfile.TemporaryDirectory() as folder:
                tensors = Tensors(Problem(shape), folder)
                forward, both, _ = torch_side(tensors)
                for what, run in (("forward", forward), ("both", both)):
                    sides = [Fovea(self.fovea, what, *tensors.problem.words(tensors.path, what, n)) for n in (1, 2)]
                    sides += [Peer(lambda n=n, run=run: (torch.set_num_threads(n), run())) for n in (1, 2)]
                    self.clock.run(sides)
                    ms = [side.ms for side in sides]
                    for side in sides:
                        side.close()
                    table.row([tensors.problem.name, "forward" if what == "forward" else "fwd + bwd", ms[0], ms[1],
                               times(ms[0] / ms[1]), ms[2], ms[3], times(ms[2] / ms[3])])
                    self.rows.append({"group": "threads", "case": tensors.problem.name, "pass": what, "ms": ms})
        torch.set_num_threads(self.threads)

    # ---- the end

    def summary(self):
        rated = [row for row in self.rows if "ratio" in row]
        for group in dict.fromkeys(row["group"] for row in rated):
            for what, words in (("forward", "forward, best peer"), ("both", "forward + backward, torch")):
                cells = [row for row in rated if row["group"] == group and row["pass"] == what]
                if cells:
                    mean = math.exp(sum(math.log(row["ratio"]) for row in cells) / len(cells))
                    worst = min(cells, key=lambda row: row["ratio"])
                    emit(f"- {group}: {words}: {len(cells)} rows, geometric mean {mean:.2f}, least {worst['ratio']:.2f} "
                         f"({worst['case']}, {worst['best_peer']})")
        if self.left_out:
            emit(f"- left out, because a result was wrong or could not be computed: {', '.join(self.left_out)}")
        lost = [row for row in rated if row["ratio"] < 1]
        if rated:
            emit(f"- rows that fovea loses: {len(lost)} of {len(rated)}")
        for row in lost:
            emit(f"  - {row['case']}, {row['pass']}: {row['ratio']:.2f} of {row['best_peer']}")


def first(path, key):
    try:
        return next(line.split(":", 1)[1].strip() for line in open(path) if line.startswith(key))
    except (OSError, StopIteration):
        return "unknown"


def header(options):
    caches = []
    for index in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        caches += [] if kind == "Instruction" else [f"L{level} {size}"]
    flags = [flag for flag in first("/proc/cpuinfo", "flags").split() if flag in
             ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "amx_tile")]
    version = subprocess.run([options.fovea, "version", "-v"], capture_output=True, text=True).stdout.split(",")[0].split()
    commit = subprocess.run(["git", "-C", str(pathlib.Path(__file__).parent), "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True).stdout.strip()
    emit("```text" if options.markdown else "")
    emit(f"date     {time.strftime('%Y-%m-%d', time.gmtime())}, load {os.getloadavg()[0]:.2f} before the run")
    emit(f"machine  {first('/proc/cpuinfo', 'model name')}, {processors()} cores, {', '.join(caches)}, "
          f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB, {platform.system()} {platform.release()}")
    emit(f"         {' '.join(flags)}")
    emit(f"fovea    {' '.join(version)}, commit {commit or 'unknown'}")
    emit(f"peers    torch {torch.__version__}, onnxruntime {onnxruntime.__version__ if onnxruntime else 'none'}, "
          f"openvino {openvino.__version__.split('-')[0] if openvino else 'none'}")
    for i, line in enumerate(line.strip(" -") for line in torch.__config__.show().splitlines()[1:] if "Build settings" not in line):
        emit(f"{'torch' if i == 0 else '':<9}{line}")
    emit(f"run      {options.threads} thread{'s' if options.threads > 1 else ''}, {options.rounds} rounds, f32 unless said, "
          f"{', '.join(options.only)}")
    emit("```" if options.markdown else "")


def main():
    groups = [line.split()[0] for line in __doc__.replace("Groups:", "       ").splitlines() if line.startswith("        ")]
    parser = argparse.ArgumentParser(prog="bench/peers/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--only", default=",".join(groups), metavar="GROUPS", help="such as grid,dropout; all without it")
    parser.add_argument("--fovea", default=str(here.parent.parent / "build/fovea"), help="the program (build/fovea)")
    parser.add_argument("--threads", type=int, default=1, help="for every side (1)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every side in each row, after one to warm up (3)")
    parser.add_argument("--budget", type=float, default=13, metavar="MINUTES", help="to share among the turns (13); long cases need their time")
    parser.add_argument("--longest", type=int, default=1 << 30, metavar="L", help="leave out shapes of more keys")
    parser.add_argument("--markdown", action="store_true", help="tables and header as in docs/performance.md")
    parser.add_argument("--page", metavar="FILE", help="put what is printed between the marks of that page, such as docs/performance.md")
    parser.add_argument("--json", metavar="FILE", help="also write all rows there")
    options = parser.parse_args()
    options.only = options.only.split(",")
    options.markdown = options.markdown or options.page is not None
    unknown = [group for group in options.only if group not in groups]
    if unknown:
        parser.error(f"unknown group {unknown[0]}; there are {', '.join(groups)}")
    if not os.access(options.fovea, os.X_OK):
        parser.error(f"{options.fovea} is not there; try: make")
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    header(options)
    comparison = Comparison(options)
    for group in options.only:
        comparison.clock.expect(comparison.sides_of(group))
    for group in options.only:
        if group == "train":
            train.compare(options)
        elif group == "decode":
            rows, left_out = decode.compare(options)
            comparison.rows += rows
            comparison.left_out += left_out
        else:
            comparison.run(group)
    emit()
    comparison.summary()
    if options.page:
        put_into(options.page)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(comparison.rows, indent=1) + "\n")
    return 1 if comparison.left_out else 0


if __name__ == "__main__":
    sys.exit(main())
