"""Classifiers of texts beside each other, one process each. Started by bench/auto."""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

PEERS = {"tfidf12+logreg": "sklearn", "tfidf12+linsvc": "sklearn", "char12+linsvc": "sklearn", "fasttext": "fasttext"}
COLUMNS = "{:<14} {:<16} {:>9} {:>9} {:>9} {:>9}"


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        rows = [line.rstrip("\n").split("\t", 1) for line in file]
    return [row[1] for row in rows[1:]], [row[0] for row in rows[1:]]


def macro_f1(wanted, found):
    scores = []
    for name in sorted(set(wanted) | set(found)):
        both = sum(w == f == name for w, f in zip(wanted, found))
        scores.append(2 * both / (wanted.count(name) + found.count(name)))
    return sum(scores) / len(scores)


# ---- peers, each in a process of its own

def sklearn_answers(name, texts, names, tests):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC
    words = dict(analyzer="char", ngram_range=(1, 2)) if name.startswith("char") else dict(ngram_range=(1, 2))
    last = LogisticRegression(C=10, max_iter=1000) if name.endswith("logreg") else LinearSVC()
    return make_pipeline(TfidfVectorizer(sublinear_tf=True, **words), last).fit(texts, names).predict(tests)


def fasttext_answers(texts, names, tests):
    import fasttext
    kinds = sorted(set(names))

    def line(text):  # what its users write: lower case, words apart from punctuation, Han characters apart
        return " ".join(re.findall(r"[\u3040-\u9fff]|[^\W\u3040-\u9fff]+|[^\w\s]", text.lower()))

    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        for text, name in zip(texts, names):
            file.write(f"__label__{kinds.index(name)} {line(text)}\n")
        file.flush()
        model = fasttext.train_supervised(file.name, epoch=25, lr=0.5, wordNgrams=2, minn=2, maxn=5, dim=100, bucket=200000,
                                          thread=1, verbose=0)
    # its predict() fails with NumPy 2, what it calls does not
    return [kinds[int(model.f.predict(line(text) + "\n", 1, 0.0, "strict")[0][1][9:])] for text in tests]


def run_peer(name, folder):
    texts, names = read(folder / "train.tsv")
    tests, wanted = read(folder / "test.tsv")
    start = time.time()
    found = fasttext_answers(texts, names, tests) if name == "fasttext" else sklearn_answers(name, texts, names, tests)
    found = [str(f) for f in found]
    print(json.dumps({"accuracy": sum(w == f for w, f in zip(wanted, found)) / len(wanted), "macro-f1": macro_f1(wanted, found),
                      "seconds": time.time() - start}))


# ---- the table

def peak_of(command, **options):
    """Runs it; what it printed, and the largest memory of that one process in MB."""
    program = "import resource,subprocess,sys;r=subprocess.run(sys.argv[1:]);" \
              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss//1024);sys.exit(r.returncode)"
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, check=False, **options)
    lines = done.stdout.splitlines()
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return None, 0
    return "\n".join(lines[:-1]), int(lines[-1])


def row(data, name, result, memory):
    print(COLUMNS.format(data, name, f"{result['accuracy']:.4f}", f"{result['macro-f1']:.4f}", f"{result['seconds']:.1f}", memory), flush=True)


def ours(options, folder, model):
    with tempfile.TemporaryDirectory() as place:
        more = ["--budget", options.budget] if model == "auto" else []
        text, memory = peak_of([options.fovea, "train", "-i", folder / "train.tsv", "--test", folder / "test.tsv", "--model", model,
                                "--text-col", "text", "--label-col", "label", "-o", f"{place}/run", "--format", "jsonl", "-q", *more])
    for line in text.splitlines() if text else []:
        result = json.loads(line)
        if result["part"] == "test":
            row(folder.name, "fovea " + result["model"], result, memory)
        elif "/" in result["model"]:
            print(f"{'':<14}   {result['model']:<22} held-out {result['accuracy']:.4f}  weight {result['weight']:.2f}  {result['seconds']:.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fovea", type=os.path.abspath)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--models", default="auto")
    parser.add_argument("--peer")
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    if options.peer:
        return run_peer(options.peer, options.folders[0])
    print(COLUMNS.format("data", "model", "accuracy", "macro-f1", "seconds", "MB"))
    for folder in options.folders:
        for name in PEERS:
            text, memory = peak_of([sys.executable, __file__, "--peer", name, folder])
            if text:
                row(folder.name, name, json.loads(text), memory)
        for model in options.models.split():
            ours(options, folder, model)
    return None


main()
