"""fovea against torch on random configurations: outputs, scores or weights, and all gradients.

    python parity.py FOVEA [--count N] [--seed S] [--only I]

A configuration is a function of (seed, number); a failure prints the line that repeats it alone. The types f64, f32, bf16 and
f16 are all judged in float64, on the same numbers. A difference is allowed in proportion to the unit of the arithmetic, the size
of the scores, whose exponentials the weights are, and the largest number of the tensor; gradients that cancel are measured by
what their terms are made of, their floor.
"""
import argparse
import math
import os
import platform
import random
import subprocess
import sys
import tempfile
import time

import torch

import oracle
import tensors

UNIT = {torch.float64: 2**-53, torch.float32: 2**-24, torch.float16: 2**-24, torch.bfloat16: 2**-24}  # of the arithmetic
ROUNDING = {torch.float64: 0, torch.float32: 0, torch.float16: 2**-11, torch.bfloat16: 2**-8}  # of what is written


class Case:
    def __init__(self, seed, number):
        self.name = f"{seed}/{number}"
        r = self.random = random.Random(self.name)
        self.torch = torch.Generator().manual_seed(r.getrandbits(60))
        self.dtype = r.choice([torch.float64] * 4 + [torch.float32] * 3 + [torch.bfloat16, torch.float16])
        self.simple = r.random() < 0.35  # what scaled_dot_product_attention has a word for
        self.packed = not self.simple and r.random() < 0.3
        self.layout = r.choice(["bhld", "blhd", "bld"])
        self.batch, self.kv_heads = 1 if self.packed else r.randint(1, 3), r.randint(1, 3)
        self.heads = self.kv_heads * r.choice([1, 1, 2, 3])
        self.width, self.v_width = self.some_width(), self.some_width()
        if r.random() < 0.5:
            self.v_width = self.width
        self.lengths()
        self.options()
        several = len(self.q_lengths) if self.packed else self.batch
        some = self.causal != "none" and self.keys and self.random.random() < 0.2
        self.prefix = [self.random.randint(0, self.keys) for _ in range(several)] if some else None
        self.sequences = list(self.split())

    def some_width(self):
        r = self.random
        return r.choice([r.randint(1, 20), r.randint(1, 80), 8, 16, 32, 64, 80, 96, 128])

    def some_length(self):
        r = self.random
        return r.choice([0, 1, r.randint(1, 12), r.randint(1, 40), r.randint(1, 40), r.randint(30, 200)])

    def lengths(self):
        r = self.random
        if self.packed:
            count = r.randint(1, 5)
            self.q_lengths = [self.some_length() for _ in range(count)]
            self.k_lengths = self.q_lengths if r.random() < 0.4 else [self.some_length() for _ in range(count)]
            self.rows, self.keys, self.past = sum(self.q_lengths), sum(self.k_lengths), 0
        else:
            self.rows = self.some_length()
            self.keys = self.rows if r.random() < 0.4 else self.some_length()
            self.past = min(self.keys, r.randint(1, 30)) if r.random() < 0.15 else 0
        some = not self.packed and self.keys and r.random() < 0.2
        self.valid = [r.randint(0, self.keys) for _ in range(self.batch)] if some else None

    def options(self):
        r = self.random
        self.scale = r.choice([0, 0, r.uniform(0.05, 1.0), -0.3])
        self.real_scale = self.scale or 1 / math.sqrt(self.width)
        self.softcap = r.choice([0, 0, r.uniform(0.5, 30)])
        self.causal = r.choice(["none", "upper-left", "lower-right"])
        self.given_offset = r.choice([0, 0, r.randint(-5, 12)]) if self.causal != "lower-right" else 0
        self.q_offset = self.given_offset + self.past
        self.window_left = r.choice([-1, -1, r.randint(0, 50)])
        self.window_right = r.choice([-1, -1, -1, r.randint(0, 50)])
        self.mask_means = r.choice(["keep", "drop"])
        self.dropout = r.choice([0, 0, 0, r.uniform(0.01, 0.9)])
        self.seed = r.getrandbits(60)
        if self.simple:
            self.softcap = self.dropout = 0
            self.window_left = self.window_right = -1
            self.given_offset = max(self.given_offset, 0)
            self.q_offset = self.given_offset + self.past
            self.valid = self.valid and [max(n, 1) for n in self.valid]
        self.stage = r.choice(["raw", "softcapped", "biased", "softmax", "dropout" if self.dropout else "softmax"])

    def split(self):
        if self.packed:
            q = k = 0
            for n, (rows, keys) in enumerate(zip(self.q_lengths, self.k_lengths)):
                yield oracle.Sequence(self, n, 0, slice(q, q + rows), slice(k, k + keys))
                q, k = q + rows, k + keys
        else:
            for b in range(self.batch):
                yield oracle.Sequence(self, b, b, slice(0, self.rows), slice(0, self.valid[b] if self.valid else self.keys))

    # ---- tensors

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.torch, dtype=torch.float64).to(self.dtype)

    def plane(self):
        """A shape that broadcasts to (B,H,Lq,Lk)."""
        full = [self.batch, self.heads, self.rows, self.keys]
        return [n if self.random.random() < 0.6 else 1 for n in full]

    def inputs(self):
        """Logical tensors, (B,H,L,D) and so on, in the type of the case."""
        r, given = self.random, {}
        given["q"] = self.normal(self.batch, self.heads, self.rows, self.width)
        given["k"] = self.normal(self.batch, self.kv_heads, self.keys, self.width)
        given["v"] = self.normal(self.batch, self.kv_heads, self.keys, self.v_width)
        if r.random() < 0.35:
            given["bias"] = self.normal(*self.plane())
            if r.random() < 0.3:
                given["bias"][torch.rand(given["bias"].shape, generator=self.torch) < 0.2] = -math.inf
        if r.random() < (0.1 if self.simple else 0.3):
            given["mask"] = torch.rand(self.plane(), generator=self.torch) < r.choice([0.1, 0.5, 0.9])
        if not self.simple and r.random() < 0.25:
            given["slopes"] = self.normal(self.heads).abs() / 4
        if not self.simple and r.random() < 0.25:
            given["sinks"] = self.normal(self.heads)
        self.bare = (not self.valid and self.window_left < 0 and self.window_right < 0
                     and "bias" not in given and "mask" not in given)
        return given

    # ---- fovea

    def laid(self, t):
        if self.layout == "bhld":
            return t
        t = t.transpose(1, 2)
        return t if self.layout == "blhd" else t.reshape(*t.shape[:2], t.shape[2] * t.shape[3])

    def logical(self, t, heads):
        if self.layout == "bld":
            t = t.reshape(*t.shape[:2], heads, t.shape[2] // heads)
        return t if self.layout == "bhld" else t.transpose(1, 2)

    def file(self, given, do, dlse):
        new = {name: t[:, :, self.past:] if name in "kv" else t for name, t in given.items()}
        for name in "qkv":
            new[name] = self.laid(new[name])
        if self.past:
            for name in "kv":
                new["past_" + name] = self.laid(given[name][:, :, :self.past])
        if "bias" in new and new["bias"].shape[0] == 1 and self.random.random() < 0.3:
            new["bias"] = new["bias"][0]
        if self.valid:
            new["kv_len"] = torch.tensor(self.valid)
        if self.prefix:
            new["prefix_len"] = torch.tensor(self.prefix)
        if self.packed:
            new["cu_seqlens_q"] = torch.tensor([0, *self.q_lengths]).cumsum(0).int()
            new["cu_seqlens_k"] = torch.tensor([0, *self.k_lengths]).cumsum(0).int()
        new["do"] = self.laid(do)
        if dlse is not None:
            new["dlse"] = dlse
        return new

    def words(self):
        words = ["--layout", self.layout, "--causal", self.causal, "--mask-means", self.mask_means]
        for flag, value in [("scale", self.scale), ("softcap", self.softcap), ("q-offset", self.given_offset),
                            ("dropout", self.dropout), ("seed", self.seed)]:
            words += [f"--{flag}={value!r}"] if value else []
        words += [f"--window-left={self.window_left}", f"--window-right={self.window_right}", "--weights", self.stage]
        return words + (["--heads", str(self.heads), "--kv-heads", str(self.kv_heads)] if self.layout == "bld" else [])

    def run(self, fovea, folder, given, do, dlse):
        where = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
        tensors.write(where[0], self.file(given, do, dlse))
        environment = {**os.environ, "FOVEA_THREADS": str(self.random.randint(1, 3))}
        if self.random.random() < 0.4:
            environment["FOVEA_ISA"] = self.random.choice(["scalar", "avx2"] if platform.machine() == "x86_64" else ["scalar"])
        done = subprocess.run([fovea, "attend", "-q", "--in", where[0], "--out", where[1], *self.words()],
                              capture_output=True, text=True, env=environment)
        if done.returncode:
            raise Failure(f"exit code {done.returncode}: {done.stderr.strip()}")
        found = tensors.read(where[1])
        found["out"] = self.logical(found["out"], self.heads)
        for name in ("dq", "dk", "dv", "dpast_k", "dpast_v"):
            if name in found:
                found[name] = self.logical(found[name], self.heads if name == "dq" else self.kv_heads)
        for name in "kv":
            if self.past:
                found["d" + name] = torch.cat([found["dpast_" + name], found["d" + name]], 2)
        return found

    def __str__(self):
        on = [str(self.dtype)[6:], self.layout, f"b{self.batch} h{self.heads}/{self.kv_heads} q{self.rows} k{self.keys} "
              f"d{self.width}/{self.v_width}", self.causal]
        on += [name for name in ("packed", "past", "valid", "prefix", "scale", "softcap", "dropout") if getattr(self, name)]
        return ", ".join(on)


class Failure(Exception):
    pass


class Ledger:
    """The largest difference of each kind, and how many were looked at."""

    def __init__(self):
        self.count, self.worst, self.closest, self.blunt = {}, {}, 0, 0

    def compare(self, case, what, found, want, floor, exact, rounding):
        if tuple(found.shape) != tuple(want.shape):
            raise Failure(f"{what} has shape {tuple(found.shape)}, expected {tuple(want.shape)}")
        kind = what.split()[0], str(case.dtype)[6:]
        self.count[kind] = self.count.get(kind, 0) + 1
        if not want.numel():
            return
        found, want = found.double(), want.detach().double()
        difference = torch.where(found == want, 0, found - want).abs().amax().item()  # infinities are equal
        size = torch.where(want.isinf(), 0, want.abs()).amax().item()
        allowed = exact * (size + floor) + rounding * size
        if not difference <= allowed:
            raise Failure(f"{what} differs by {difference:.3g}, {allowed:.3g} is allowed at its size of {size:.3g}")
        if difference:
            self.worst[kind] = max(self.worst.get(kind, 0), difference / (size + floor))
            if not rounding:
                self.closest = max(self.closest, difference / allowed)
        self.judge(what, found, want, size, allowed)

    def judge(self, what, found, want, size, allowed):
        """The judge is judged: what is 3 % off must not pass. Gradients that are nothing beside their terms are counted apart."""
        if allowed > 0.02 * size:
            self.blunt += size > 0
            return
        want, wrong = torch.where(want.isinf(), 0, want).flatten(), torch.where(want.isinf(), 0, found).flatten()
        wrong[wrong.abs().argmax()] *= 1.03
        if size and (wrong - want).abs().amax().item() <= allowed:
            raise Failure(f"{what} passes when it is spoiled")

    def table(self):
        types = ["float64", "float32", "float16", "bfloat16"]
        names = list(dict.fromkeys(name for name, _ in self.count))
        print(f"{'largest difference':<20}" + "".join(f"{t:>18}" for t in types))
        for name in names:
            cells = [f"{self.worst.get((name, t), 0):.1e} of {self.count.get((name, t), 0):<4}" for t in types]
            print(f"{name:<20}" + "".join(f"{cell:>18}" for cell in cells))


def top(t):
    return torch.where(t.isinf(), 0, t.abs()).amax().item() if t is not None and t.numel() else 0


def strength(case, given):
    """How large scores may be."""
    product = top(given["q"].double().norm(dim=-1)) * top(given["k"].double().norm(dim=-1))
    return abs(case.real_scale) * product + top(given.get("bias")) + top(given.get("slopes")) * max(case.rows, case.keys)


def floors(case, given, do, dlse):
    """What the terms of each gradient are made of."""
    pull = top(do) * top(given["v"]) * math.sqrt(case.v_width) * (2 if case.dropout else 1) / (1 - case.dropout) + top(dlse)
    s = abs(case.real_scale) * pull
    return {"q": s * top(given["k"]), "k": s * top(given["q"]), "v": 0, "bias": pull, "sinks": pull,
            "slopes": pull * max(case.keys, case.rows)}


def expected(case, given, do, dlse, plain):
    """(what, name of fovea's tensor, torch's tensor, floor, may 16 bits round it)"""
    wanted = [name for name in plain if name != "mask"]
    out, lse, stage = oracle.formula(case, given)
    floor = floors(case, plain, do, dlse)
    slope = oracle.gradients(given, wanted, oracle.loss_of(out, lse, do.double(), dlse))
    yield "out", "out", out, 0, True
    yield "lse", "lse", lse, 1, False
    yield f"weights ({case.stage})", "weights", stage, 1, False
    for name in wanted:
        yield "d" + name, "d" + name, slope[name], floor[name], True
    sdpa = oracle.by_sdpa(case, given)
    if sdpa is not None:
        yield "sdpa:out", "out", sdpa, 0, True
        slope = oracle.gradients(given, wanted, oracle.loss_of(sdpa, lse, do.double(), None)) if dlse is None else {}
        for name, g in slope.items():
            yield "sdpa:d" + name, "d" + name, g, floor[name], True
    flex = oracle.by_flex(case, given)
    if flex is not None:
        yield "flex:out", "out", flex[0], 0, True
        yield "flex:lse", "lse", flex[1], 1, False


def check(case, fovea, folder, ledger):
    plain = case.inputs()
    do, dlse = case.normal(case.batch, case.heads, case.rows, case.v_width), None
    if case.random.random() < 0.3:
        dlse = case.normal(case.batch, case.heads, case.rows)
    found = case.run(fovea, folder, plain, do, dlse)
    given = {name: t if name == "mask" else t.double().requires_grad_() for name, t in plain.items()}
    exact = 8 * UNIT[case.dtype] * (4 + strength(case, plain))
    for what, name, want, floor, rounded in expected(case, given, do, dlse, plain):
        ours = found[name].reshape(want.shape) if name == "dbias" else found[name]
        ledger.compare(case, what, ours, want, floor, exact, ROUNDING[case.dtype] if rounded else 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fovea")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    numbers = range(asked.count) if asked.only is None else [asked.only]
    ledger, failed, started = Ledger(), 0, time.time()
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            case = Case(asked.seed, number)
            try:
                check(case, asked.fovea, folder, ledger)
            except Failure as failure:
                failed += 1
                print(f"not ok  {case}: {failure}\n        again: tests/parity/run {asked.fovea} --seed {asked.seed} --only {number}")
    ledger.table()
    print(f"closest of f64 and f32 to its bound: {ledger.closest:.2f} of it; {ledger.blunt} gradients too small to see 3 % of them")
    print(f"torch {torch.__version__}, {sum(ledger.count.values())} tensors compared in {time.time() - started:.0f} s")
    print(f"{len(numbers) - failed} passed, {failed} failed")
    return 1 if failed or not numbers else 0


if __name__ == "__main__":
    sys.exit(main())
