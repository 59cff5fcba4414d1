"""Writes explorer pages from synthetic payloads, by docs/explorer-format.md: the other half of the contract.

    make_page.py ASSET_DIR EMBED OUT_DIR     writes small, plain, wide, linear, big and huge.html into OUT_DIR
"""
import base64, json, math, os, random, re, struct, subprocess, sys, zlib

HOSTILE = '</script><img src="http://127.0.0.1:9/x" onerror=alert(1)>'
TEXT = ("The unbelievably old game's engine crashed; \u05e9\u05dc\u05d5\u05dd \u4f60\u597d\u4e16\u754c \U0001f469\u200d\U0001f680 "
        + HOSTILE + " & <b>ok</b>\u202eevil")


def pieces(text):
    """(start, end, word) byte ranges: words cut into pieces of at most five characters, punctuation kept apart."""
    tokens, word = [], 0
    for match in re.finditer(r"\w+|<[^<]*>?|[^\w\s]+", text):
        chars = match.group()
        size = 5 if chars.isalnum() and chars.isascii() else 60
        for at in range(0, len(chars), size):
            start = len(text[:match.start() + at].encode())
            tokens.append((start, start + len(chars[at:at + size].encode()), word))
        word += 1
    return tokens


def sequence(text):
    tokens = [(0, 0, -1)] + pieces(text) + [(0, 0, -1)]
    raw = text.encode()
    return {"kind": "text", "caption": "input", "text": text, "start": [t[0] for t in tokens], "end": [t[1] for t in tokens],
            "word": [t[2] for t in tokens], "special": [0, len(tokens) - 1],
            "piece": ["[CLS]"] + [raw[a:b].decode() for a, b, _ in tokens[1:-1]] + ["[SEP]"]}


def head_rows(kind, size, rng):
    """One head as rows of weights: previous-token, sink, same position, broad or content."""
    rows = []
    for q in range(size):
        row = [rng.random() ** 3 * 0.2 + 1e-3 for _ in range(size)]
        if kind == 0:
            row[max(0, q - 1)] += 6
        elif kind == 1:
            row[0] += 8
        elif kind == 2:
            row[q] += 3
        elif kind == 4:
            for k in range(0, size, 7):
                row[k] += 2 * rng.random()
        total = sum(row)
        rows.append([p / total for p in row])
    return rows


def stats_of(all_rows, special):
    def mean(f):
        return [sum(f(q, row) for q, row in enumerate(rows)) / len(rows) for rows in all_rows]
    table = [
        ("entropy", "Entropy", "bits", "how widely a row is spread; 0 is one key", lambda q, r: -sum(p * math.log2(p) for p in r if p > 0)),
        ("diagonal", "Same position", "share", "weight of the query's own position", lambda q, r: r[q] if q < len(r) else 0),
        ("previous", "Previous token", "share", "weight of the position before the query", lambda q, r: r[q - 1] if q else 0),
        ("first", "First token", "share", "weight of position 0, often a sink", lambda q, r: r[0]),
        ("special", "Special tokens", "share", "weight on special tokens", lambda q, r: sum(r[k] for k in special)),
        ("distance", "Mean distance", "tokens", "mean distance between query and key", lambda q, r: sum(p * abs(q - k) for k, p in enumerate(r))),
    ]
    return [{"id": i, "caption": l, "unit": u, "about": a, "values": mean(f)} for i, l, u, a, f in table]


def full_block(rows):
    maxima = [max(row) for row in rows]
    codes = bytes(round(255 * math.sqrt(p / m)) if m > 0 else 0 for row, m in zip(rows, maxima) for p in row)
    return struct.pack("<%df" % len(rows), *maxima) + codes


def exact_block(rows):
    return struct.pack("<%df" % (len(rows) * len(rows[0])), *[p for row in rows for p in row])


def block(name, data, compression, level=6):
    body = zlib.compress(data, level) if compression == "deflate" else data
    return ('<script type="text/plain" id="fv-%s">' % name).encode() + base64.b64encode(body) + b"</script>\n"


def meta_block(meta):
    text = json.dumps(meta, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return b'<script type="application/json" id="fv-meta">' + text.encode() + b"</script>\n"


def common(title, compression):
    return {"format": "fovea-explorer", "version": 1, "title": title, "task": "classify", "compression": compression,
            "model": {"name": "app16-transformer", "kind": "transformer", "parameters": 1234567, "attention": "softmax"},
            "provenance": [["command", 'fovea explain -m runs/app16 "..." -o page.html'], ["fovea", "0.1.0"],
                           ["model file", "runs/app16/model.safetensors, sha256 3f1a" + "0" * 60], ["hostile", HOSTILE]]}


def small_page(compression):
    rng = random.Random(1)
    seq = sequence(TEXT)
    size, layers, per = len(seq["start"]), 4, 6
    heads = [{"layer": l, "head": h} for l in range(layers) for h in range(per)]
    rows = [head_rows((n * 7 + n // per) % 5, size, rng) for n in range(len(heads))]
    mean = [[sum(r[q][k] for r in rows) / len(rows) for k in range(size)] for q in range(size)]
    heads.append({"id": "rollout", "caption": "Rollout"})
    rows.append(mean)
    heads += [{"id": "mean", "caption": "Mean of layer %d" % l, "layer": l} for l in range(layers)]
    rows += [[[sum(r[q][k] for r in rows[l * per:(l + 1) * per]) / per for k in range(size)] for q in range(size)] for l in range(layers)]
    meta = common("What kind of program is this? " + HOSTILE, compression)
    meta["sequences"] = [seq]
    names = ["games", "utils", "web", HOSTILE, "science", "sound", "text"]
    odds = [0.71, 0.12, 0.07, 0.04, 0.03, 0.02, 0.01]
    meta["prediction"] = {"classes": [{"name": n, "probability": p, "logit": math.log(p)} for n, p in zip(names, odds)],
                          "predicted": 0, "expected": 2}
    attention = [rng.random() ** 3 for _ in range(size)]
    attention[0] = 1.5
    total = sum(attention)
    meta["attributions"] = [
        {"id": "attention", "caption": "Attention", "sequence": 0, "class": 0, "signed": False,
         "about": "attention of the pooled output, mean of the heads of the last layer", "values": [a / total for a in attention]},
        {"id": "gradient-attention", "caption": "Gradient × attention", "sequence": 0, "class": 0, "signed": True,
         "about": "gradient of the class's logit times attention, summed over heads and queries",
         "values": [(rng.random() - 0.35) * 0.4 * rng.random() ** 2 for _ in range(size)]}]
    meta["maps"] = [{"id": "self", "caption": "Self-attention", "query": 0, "key": 0, "normalised": True, "weights": "softmax",
                     "heads": heads, "stats": stats_of(rows, seq["special"]), "select": 8}]
    blocks = [block("full-0-%d" % n, full_block(r), compression) for n, r in enumerate(rows)]
    blocks.append(block("exact-0-8", exact_block(rows[8]), compression))
    return meta, blocks, rows


def rectangular_page():
    """Cross-attention, 5 queries on 9 keys: later tasks must open in today's page."""
    rng = random.Random(2)
    meta = common("Rectangular", "deflate")
    meta["task"] = "translate"
    source, target = sequence("the cat sat on a mat today"), sequence("die Katze sass")
    meta["sequences"] = [dict(target, caption="target"), dict(source, caption="source")]
    nq, nk = len(target["start"]), len(source["start"])
    rows = []
    for _ in range(4):
        head = [[rng.random() for _ in range(nk)] for _ in range(nq)]
        rows.append([[p / sum(r) for p in r] for r in head])
    meta["maps"] = [{"id": "cross", "caption": "Cross-attention", "query": 0, "key": 1, "normalised": True,
                     "heads": [{"layer": n // 2, "head": n % 2} for n in range(4)], "stats": []}]
    return meta, [block("full-0-%d" % n, full_block(r), "deflate") for n, r in enumerate(rows)]


def plain_meta(title, text, rows_of_heads, **more):
    """One layer of heads on one text."""
    meta = common(title, "none")
    seq = dict(sequence(text), **more)
    size = len(seq["start"])
    rows = [f(size) for f in rows_of_heads]
    meta["sequences"] = [seq]
    special = seq["special"]
    focus = [sum(sum(-p * math.log(p) for p in r if p > 0) / math.log(size) for r in head) / size for head in rows]
    meta["maps"] = [{"id": "self", "caption": "Self-attention", "query": 0, "key": 0, "normalised": True,
                     "heads": [{"layer": 0, "head": n} for n in range(len(rows))],
                     "stats": stats_of(rows, special) + [{"id": "focus", "caption": "Entropy, relative", "unit": "share", "about": "synthetic",
                                                         "values": focus}]}]
    return meta, [block("exact-0-%d" % n, exact_block(r), "none") for n, r in enumerate(rows)]


def uniform_rows(size):
    return [[1 / size] * size for _ in range(size)]


def next_rows(size):
    return [[0.8 if k == (q + 1) % size else 0.2 / (size - 1) for k in range(size)] for q in range(size)]


def uniform_page():
    """Attention that looks nowhere beside a head that looks somewhere, a text that was cut, and unknown words."""
    meta, blocks = plain_meta("Uniform", "one two three four five six seven eight and more", [uniform_rows, next_rows],
                              truncated=True, unknown=[2, 3])
    seq = meta["sequences"][0]
    raw = len("one two three four five six seven eight")
    seq["text"] = seq["text"][:raw] + " and more that nobody read"
    return meta, blocks


def hebrew_page():
    return plain_meta("Hebrew", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd \u05d6\u05d4 \u05de\u05e9\u05e4\u05d8 \u05d0\u05e8\u05d5\u05da", [next_rows])


def linear_page():
    """A model without attention: a prediction and one value per word."""
    meta = small_page("none")[0]
    meta.update(title="Linear", maps=[], attributions=[dict(meta["attributions"][1], id="weights", caption="Weights")])
    return meta, []


def big_matrix(n, size, rng, noise):
    """A 512 x 512 head in codes, made by byte tricks so that 144 of them take seconds in plain Python."""
    codes = bytearray(rng.randbytes(size * size).translate(noise[n % len(noise)]))
    if n % 4 == 0:
        codes[size::size + 1] = b"\xff" * len(codes[size::size + 1])
    elif n % 4 == 1:
        codes[0::size] = b"\xff" * size
    elif n % 4 == 2:
        for k in range(5 * n % size, size, 37):
            codes[k::size] = b"\xc0" * size
    return codes


def big_top(codes, rowmax, size, k):
    keys, tops, rest, entropy = [], bytearray(), [], []
    for q in range(size):
        row = codes[q * size:(q + 1) * size]
        order = sorted(range(size), key=row.__getitem__, reverse=True)[:k]
        keys += order
        tops += bytes(row[i] for i in order)
        whole = sum(rowmax[q] * (c / 255) ** 2 for c in row)
        rest.append(whole - sum(rowmax[q] * (row[i] / 255) ** 2 for i in order))
        entropy.append(5.0)
    return struct.pack("<%df%df%df%dH" % (size, size, size, size * k), *rowmax, *rest, *entropy, *keys) + bytes(tops)


def big_thumb(codes, size, side):
    step = size // side
    thumb = bytearray()
    for i in range(side):
        band = [codes[q * size:(q + 1) * size] for q in range(i * step, (i + 1) * step)]
        tall = [max(column) for column in zip(*band)]
        thumb += bytes(max(tall[j * step:(j + 1) * step]) for j in range(side))
    return bytes(thumb)


def big_page(full_everywhere, budget=16 << 20):
    """12 layers x 12 heads x 512 tokens; either all in full, or tiers within the budget as section 4 says."""
    rng = random.Random(3)
    words = "network file system game sound window server client library tool image text graph kernel driver".split()
    text = " ".join(rng.choice(words) + ("s" if rng.random() < 0.2 else "") for _ in range(510))
    seq = sequence(text)
    for name in ("start", "end", "word", "piece"):
        seq[name] = seq[name][:511] + seq[name][-1:]
    seq["special"], seq["truncated"] = [0, 511], True
    size, layers, per = 512, 12, 12
    count = layers * per
    noise = [bytes(min(90, int(abs(random.Random(u * 7 + d).gauss(0, s)))) for u in range(256)) for d, s in enumerate((9, 14, 25, 5))]
    meta = common("Twelve layers, twelve heads, 512 tokens", "deflate")
    meta["sequences"] = [seq]
    meta["prediction"] = {"classes": [{"name": "games", "probability": 0.9}, {"name": "web", "probability": 0.1}], "predicted": 0}
    meta["attributions"] = [
        {"id": i, "caption": l, "sequence": 0, "class": 0, "signed": s, "about": "synthetic",
         "values": [rng.random() ** 6 - (0.1 if s else 0) for _ in range(size)]}
        for i, l, s in (("attention", "Attention", False), ("gradient-attention", "Gradient × attention", True))]
    shares = meta["attributions"][0]["values"]
    meta["attributions"][0]["values"] = [v / sum(shares) for v in shares]
    stats = [{"id": i, "caption": l, "unit": u, "about": "synthetic", "values": [rng.random() * 8 for _ in range(count)]}
             for i, l, u in (("entropy", "Entropy", "bits"), ("distance", "Mean distance", "tokens"))]
    meta["maps"] = [{"id": "self", "caption": "Self-attention", "query": 0, "key": 0, "normalised": True, "thumb": [64, 64], "top": 16,
                     "heads": [{"layer": n // per, "head": n % per} for n in range(count)], "stats": stats, "select": 0}]
    blocks, fulls, thumbs = [], [], b""
    for n in range(count):
        codes = big_matrix(n, size, rng, noise)
        rowmax = []
        for q in range(size):
            row = codes[q * size:(q + 1) * size]
            rowmax.append(255 * 255 / max(1, sum(c * c for c in row)))
        thumbs += big_thumb(codes, size, 64)
        fulls.append(block("full-0-%d" % n, struct.pack("<512f", *rowmax) + bytes(codes), "deflate", 1))
        if not full_everywhere:
            blocks.append(block("top-0-%d" % n, big_top(codes, rowmax, size, 16), "deflate", 1))
    blocks.append(block("thumb-0", thumbs, "deflate"))
    spent = sum(map(len, blocks)) + (200 << 10)
    for item in fulls:
        if full_everywhere or spent + len(item) <= budget:
            blocks.append(item)
            spent += len(item)
    return meta, blocks


def page_parts(assets, embed):
    """The two fixed parts, read back from what tools/embed prints: the test sees the bytes the library carries."""
    files = [os.path.join(assets, f) for f in os.listdir(assets) if f.endswith((".html", ".css", ".js"))]
    source = subprocess.run([embed] + files, check=True, capture_output=True, text=True).stdout
    parts = re.findall(r"fv__page_(before|after)\[\] = \{([^}]*)\}", source)
    return {name: bytes(int(x) for x in body.replace("\n", ",").split(",") if x.strip()) for name, body in parts}


def write(path, parts, meta, blocks):
    with open(path, "wb") as out:
        out.write(parts["before"] + meta_block(meta) + b"".join(blocks) + parts["after"])


def main():
    assets, embed, folder = sys.argv[1:4]
    parts = page_parts(assets, embed)
    os.makedirs(folder, exist_ok=True)
    meta, blocks, rows = small_page("deflate")
    write(os.path.join(folder, "small.html"), parts, meta, blocks)
    with open(os.path.join(folder, "small.json"), "w") as out:
        json.dump({"meta": meta, "rows": rows}, out)
    write(os.path.join(folder, "plain.html"), parts, *small_page("none")[:2])
    write(os.path.join(folder, "wide.html"), parts, *rectangular_page())
    write(os.path.join(folder, "linear.html"), parts, *linear_page())
    write(os.path.join(folder, "uniform.html"), parts, *uniform_page())
    write(os.path.join(folder, "hebrew.html"), parts, *hebrew_page())
    write(os.path.join(folder, "big.html"), parts, *big_page(False))
    write(os.path.join(folder, "huge.html"), parts, *big_page(True))


if __name__ == "__main__":
    main()
