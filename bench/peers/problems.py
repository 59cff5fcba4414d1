"""The problems of the comparison: their tensors, the truth about them in f64, and fovea's own result held against it."""

import dataclasses
import os
import subprocess

import numpy
import torch

from side import Wrong, read_safetensors, write_safetensors


@dataclasses.dataclass(frozen=True)
class Problem:
    shape: tuple  # B, H, L, D
    causal: bool = False
    dropout: float = 0.0
    bias: bool = False  # (1, H, L, L), trained
    window: int = 0  # keys seen on each side; 0: all
    dtype: str = "f32"
    lengths: tuple = ()  # packed: B is 1 and L their sum

    @property
    def name(self):
        b, h, length, d = self.shape
        text = f"{len(self.lengths)} x {min(self.lengths)}..{max(self.lengths)},{h},{d}" if self.lengths else f"{b},{h},{length},{d}"
        text += " causal" if self.causal else ""
        text += f" window {self.window}" if self.window else ""
        text += f" dropout {self.dropout:g}" if self.dropout else ""
        text += " trained bias" if self.bias else ""
        return text + ("" if self.dtype == "f32" else f" {self.dtype}")

    def mechanism(self):
        return f"window:left={self.window},right={self.window}" if self.window else "softmax"

    def words(self, path, what, threads):
        """What `fovea bench attention` is told."""
        return ["--in", path, "--pass", what, "--threads", str(threads), "--attention", self.mechanism(), "--dtype", self.dtype,
                "--causal", "upper-left" if self.causal else "none", "--dropout", str(self.dropout),
                "--bias", "trained" if self.bias else "none"]


class Tensors:
    """q, k, v, the gradient of the output, and a bias: the same numbers for every side, in f32 (rounded to the dtype of the problem)
    for torch, and in a file for fovea."""

    def __init__(self, problem, folder):
        random = numpy.random.default_rng(1)
        self.problem = problem
        dtype = torch.bfloat16 if problem.dtype == "bf16" else torch.float32

        def normal(*shape):
            return torch.from_numpy(random.standard_normal(shape, dtype=numpy.float32)).to(dtype)

        b, h, length, d = problem.shape
        self.q, self.k, self.v, self.g = (normal(*problem.shape) for _ in range(4))
        self.bias = normal(1, h, length, length) if problem.bias else None
        self.path = os.path.join(folder, "problem.safetensors")
        arrays = {"q": self.q, "k": self.k, "v": self.v, "do": self.g}
        if problem.bias:
            arrays["bias"] = self.bias
        arrays = {name: x.float().numpy() for name, x in arrays.items()}
        if problem.lengths:
            arrays["cu_seqlens_q"] = numpy.cumsum((0, *problem.lengths), dtype=numpy.int32)
        write_safetensors(self.path, arrays)

    def mask(self):
        """What is visible, (L, L); None: everything."""
        p, length = self.problem, self.problem.shape[2]
        i, j = torch.arange(length)[:, None], torch.arange(length)[None]
        if p.lengths:
            sequence = torch.repeat_interleave(torch.arange(len(p.lengths)), torch.tensor(p.lengths))
            return (sequence[:, None] == sequence[None]) & ((j <= i) if p.causal else True)
        if p.window:
            return (i - j).abs() <= p.window if not p.causal else (i >= j) & (i - j <= p.window)
        return j <= i if p.causal else None

    def slices(self):
        """What is compared: the first and the last head, of one batch each; of all, where they share the gradient of a bias."""
        b, h = self.problem.shape[:2]
        if self.problem.bias:
            return [(slice(0, b), 0), (slice(0, b), h - 1)]
        return [(slice(0, 1), 0), (slice(b - 1, b), h - 1)]

    def truth(self, gradients):
        """For each slice out, and dq, dk, dv and the gradient of the bias: the formula, in f64. Dropout is left out."""
        found, mask = [], self.mask()
        for at in self.slices():
            leaves = [x[at].double().requires_grad_(gradients) for x in (self.q, self.k, self.v)]
            if self.bias is not None:
                leaves.append(self.bias[at].double().requires_grad_(gradients))
            score = leaves[0] @ leaves[1].mT / self.problem.shape[3] ** 0.5
            if self.bias is not None:
                score = score + leaves[3]
            if mask is not None:
                score = score.masked_fill(~mask, -torch.inf)
            out = torch.softmax(score, -1) @ leaves[2]
            found.append([out.detach(), *(torch.autograd.grad(out, leaves, self.g[at].double()) if gradients else ())])
            del score, out, leaves
        return found

    def compare(self, who, truth, tensors):
        """`tensors`: out and perhaps gradients, (B, H, ...). Errors are relative to the size of the whole slice."""
        limit = 2e-2 if self.problem.dtype == "bf16" else 1e-4
        for at, want in zip(self.slices(), truth):
            for name, x, y in zip(("out", "dq", "dk", "dv", "dbias"), tensors, want):
                x = torch.from_numpy(numpy.array(x[at])) if isinstance(x, numpy.ndarray) else x[at].detach()
                error = float((x.double() - y).norm() / y.norm())
                if not error <= limit:
                    raise Wrong(f"{who}: {name} of {self.problem.name} differs from f64 by {error:.2g}")

    def check_fovea(self, program, truth, folder):
        """`fovea attend` on the same file. (With dropout only its own reference can tell, and `fovea bench` asks it.)"""
        p = self.problem
        if p.dropout or p.dtype != "f32":
            return
        path = os.path.join(folder, "fovea.safetensors")
        done = subprocess.run([program, "attend", "--in", self.path, "--out", path, "--attention", p.mechanism(), "--causal",
                               "upper-left" if p.causal else "none", "--quiet"], capture_output=True, text=True)
        if done.returncode != 0:
            raise Wrong(f"{' '.join(done.args)}: exit {done.returncode}\n{done.stderr}")
        found = read_safetensors(path)
        self.compare("fovea", truth, [found[name] for name in ("out", "dq", "dk", "dv", "dbias") if name in found])
        os.unlink(path)
