"""Training a transformer classifier in f32, tokens a second: `fovea bench train` beside torch, eager.

The peer is the same network (pre-norm blocks, GELU, attention pooling) with the same dropout, cross-entropy, clipping of the gradient
and fused AdamW. fovea also drops words and builds its batches in the time that is measured; torch gets one batch, ready made.
A second row compares with torch without any dropout.
"""

import torch
from torch import nn
from torch.nn import functional as F

from side import Table, fovea, times, times_ms

WIDTH, HEADS, LAYERS, LENGTH, BATCH, WORDS, CLASSES = 128, 8, 2, 64, 64, 4096, 2
UPDATES = 40


class Block(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        b, length, width = x.shape
        heads = self.qkv(self.norm1(x)).view(b, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(b, length, width)
        x = x + self.drop(self.out(attended))
        return x + self.drop(self.down(self.drop(F.gelu(self.up(self.norm2(x))))))


class Classifier(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.Sequential(*(Block(dropout) for _ in range(LAYERS)))
        self.norm, self.drop = nn.LayerNorm(WIDTH), nn.Dropout(dropout)
        self.hidden, self.score = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1, bias=False)
        self.out = nn.Linear(WIDTH, CLASSES)

    def forward(self, ids):
        x = self.norm(self.blocks(self.drop(self.embed(ids))))
        share = torch.softmax(self.score(torch.tanh(self.hidden(x))), dim=1)
        return self.out(self.drop((share * x).sum(dim=1)))


def stepper(dropout):
    model = Classifier(dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    ids, labels = torch.randint(WORDS, (BATCH, LENGTH)), torch.randint(CLASSES, (BATCH,))

    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(ids), labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def compare(options):
    peers = {"the same dropout": stepper(0.2), "torch without dropout": stepper(0.0)}
    best = dict.fromkeys(peers, 0.0)
    ours = 0.0
    for _ in range(options.rounds):
        line = fovea(options.fovea, "bench", "train", "--threads", str(options.threads), "--updates", str(UPDATES + 10),
                     "--width", str(WIDTH), "--heads", str(HEADS), "--layers", str(LAYERS), "--length", str(LENGTH),
                     "--batch-size", str(BATCH))[0]
        ours = max(ours, float(line["tokens/s"]))
        for name, step in peers.items():
            best[name] = max(best[name], 1e3 * BATCH * LENGTH * UPDATES / sum(times_ms(step, UPDATES)))
    table = Table(["training", "what", "fovea tokens/s", "torch tokens/s", "x"], options.markdown)
    for name, tokens in best.items():
        table.row([f"classifier d{WIDTH} h{HEADS} {LAYERS} layers L{LENGTH} B{BATCH}", name, ours, tokens, times(ours / tokens)])
