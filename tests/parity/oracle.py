"""What torch says: the formulas of fovea/attention.h in float64 with autograd, and, where they can say it,
torch.nn.functional.scaled_dot_product_attention (with gradients) and flex_attention (outputs)."""
import math
import warnings

import torch

import tensors

warnings.filterwarnings("ignore")


class Sequence:
    """Rows that attend to each other: a batch entry, or a piece of a packed one."""

    def __init__(self, case, number, batch, q, k):
        self.number, self.batch, self.q, self.k = number, batch, q, k
        rows, keys = q.stop - q.start, k.stop - k.start
        offset = keys - rows if case.causal == "lower-right" else case.q_offset
        i, j = torch.arange(rows).reshape(-1, 1) + offset, torch.arange(keys).reshape(1, -1)
        self.distance = (i - j).abs().double()
        hidden = torch.zeros(rows, keys, dtype=torch.bool)
        if case.causal != "none":
            hidden |= j > i
        if case.window_right >= 0:
            hidden |= j > i + case.window_right
        if case.prefix:
            hidden &= j >= case.prefix[number]
        if case.window_left >= 0:
            hidden |= j < i - case.window_left
        self.hidden = hidden

    def plane(self, t):
        """The part of a (B|1,H|1,Lq|1,Lk|1) tensor that belongs to this sequence."""
        t = t[0 if t.shape[0] == 1 else self.batch]
        t = t if t.shape[1] == 1 else t[:, self.q]
        return t if t.shape[2] == 1 else t[:, :, self.k]


def hidden_of(case, given, sequence):
    """(H,Lq,Lk): everything that hides, -inf in the bias included."""
    hidden = sequence.hidden.expand(case.heads, -1, -1).clone()
    if "mask" in given:
        mask = sequence.plane(given["mask"])
        hidden |= mask if case.mask_means == "drop" else ~mask
    if "bias" in given:
        hidden |= sequence.plane(given["bias"]) == -math.inf
    return hidden


def scores_of(case, given, sequence, q, k):
    raw = case.real_scale * q @ k.transpose(-1, -2)
    capped = case.softcap * torch.tanh(raw / case.softcap) if case.softcap else raw
    biased = capped
    if "bias" in given:
        bias = sequence.plane(given["bias"])
        biased = biased + torch.where(bias == -math.inf, 0, bias)
    if "slopes" in given:
        biased = biased - given["slopes"].reshape(-1, 1, 1) * sequence.distance
    return {"raw": raw, "softcapped": capped, "biased": biased}


def formula(case, given):
    """out, lse and the asked stage, for leaves `given` in float64."""
    q, k, v = given["q"], given["k"], given["v"]
    out = torch.zeros(case.batch, case.heads, case.rows, v.shape[3], dtype=torch.float64)
    lse = torch.full((case.batch, case.heads, case.rows), -math.inf, dtype=torch.float64)
    absent = 0 if case.packed or case.stage in ("softmax", "dropout") else -math.inf  # keys beyond kv_len, and rows and keys of other sequences
    stage = torch.full((len(case.sequences), case.heads, case.rows, case.keys), absent, dtype=torch.float64)
    group = case.heads // case.kv_heads
    for s in case.sequences:
        qs = q[s.batch][:, s.q]
        ks, vs = (t[s.batch][:, s.k].repeat_interleave(group, 0) for t in (k, v))
        hidden = hidden_of(case, given, s)
        scores = scores_of(case, given, s, qs, ks)
        if hidden.shape[1] == 0:
            continue
        seen = ~hidden.all(2, keepdim=True) if hidden.shape[2] else torch.zeros(*hidden.shape[:2], 1, dtype=torch.bool)
        top = scores["biased"].detach().masked_fill(hidden, -math.inf)
        top = top.amax(2, keepdim=True) if hidden.shape[2] else torch.zeros(*hidden.shape[:2], 1)
        top = torch.where(seen, top, 0)
        e = torch.where(hidden, 0, torch.exp(torch.where(hidden, 0, scores["biased"] - top)))
        total = torch.where(seen, e.sum(2, keepdim=True), 1)
        own = torch.where(seen, top + torch.log(total), -math.inf)
        if "sinks" in given:
            total = total + torch.where(seen, torch.exp(given["sinks"].reshape(-1, 1, 1) - top), 0)
        p = e / total
        shown = scores[case.stage].masked_fill(hidden, -math.inf) if case.stage in scores else p
        if case.dropout:
            p = p * torch.stack([tensors.kept(case.dropout, case.seed, s.number * case.heads + h, *p.shape[1:])
                                 for h in range(case.heads)])
        shown = p if case.stage == "dropout" else shown
        stage[s.number, :, :shown.shape[1], :shown.shape[2]] = shown.detach()
        out[s.batch, :, s.q] = p @ vs
        lse[s.batch, :, s.q] = own[:, :, 0]
    return out, lse, stage


def gradients(given, wanted, loss):
    leaves = [given[name] for name in wanted]
    found = torch.autograd.grad(loss, leaves, allow_unused=True, retain_graph=True) if loss.requires_grad else [None] * len(leaves)
    return {name: torch.zeros_like(leaf) if g is None else g for name, leaf, g in zip(wanted, leaves, found)}


def loss_of(out, lse, do, dlse):
    """What the gradients are of."""
    loss = (out * do).sum()
    if dlse is not None:
        loss = loss + (torch.where(lse == -math.inf, 0, lse) * dlse).sum()
    return loss


def whole_plane(case, given):
    """Addend and hidden pairs of a batch without packing: (B,H,Lq,Lk)."""
    hidden = torch.stack([torch.nn.functional.pad(hidden_of(case, given, s), (0, case.keys - s.k.stop), value=True)
                          for s in case.sequences])
    addend = torch.zeros(hidden.shape, dtype=torch.float64)
    if "bias" in given:
        addend = addend + torch.where(given["bias"] == -math.inf, 0, given["bias"])
    return addend, hidden


def by_sdpa(case, given):
    """out of scaled_dot_product_attention, or None where it has no word for the case or leaves rows undefined."""
    if case.packed or case.softcap or case.dropout or "slopes" in given or "sinks" in given or not case.rows * case.keys:
        return None
    addend, hidden = whole_plane(case, given)
    if hidden.all(3).any():
        return None
    plain = case.causal == "upper-left" and not case.q_offset and not case.prefix and case.bare and case.real_scale > 0  # it takes a root of it
    sdpa = torch.nn.functional.scaled_dot_product_attention
    how = {"is_causal": True} if plain else {"attn_mask": addend.masked_fill(hidden, -math.inf)}
    return sdpa(given["q"], given["k"], given["v"], scale=case.real_scale, enable_gqa=True, **how)


def by_flex(case, given):
    """out and lse of flex_attention in its eager form, without gradients; None where it has no word for the case."""
    if case.packed or case.dropout or "sinks" in given or not case.rows * case.keys:
        return None
    from torch.nn.attention.flex_attention import flex_attention

    leaves = {name: t.detach() for name, t in given.items()}
    addend, hidden = whole_plane(case, leaves)
    if hidden.all(3).any():
        return None
    offset = torch.tensor([s.k.stop - case.rows if case.causal == "lower-right" else case.q_offset for s in case.sequences])

    cap = torch.tensor(case.softcap, dtype=torch.float64)

    def score(s, b, h, i, j):
        if case.softcap:
            s = cap * torch.tanh(s / cap)
        s = s + addend[b, h, i, j]
        if "slopes" in leaves:
            s = s - leaves["slopes"][h] * (i + offset[b] - j).abs()
        return torch.where(hidden[b, h, i, j], -math.inf, s)

    with torch.compiler.set_stance("force_eager"):
        return flex_attention(leaves["q"], leaves["k"], leaves["v"], score_mod=score, scale=case.real_scale,
                              enable_gqa=True, return_lse=True)
