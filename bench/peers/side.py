"""What the comparisons share: running fovea, taking turns, writing tables.

A measurement is repeated in rounds, every side in turn, so that all meet the same moods of the machine, and the best counts.
"""

import json
import os
import subprocess
import tempfile
import time

import numpy

import tensor_file


class Wrong(Exception):
    """A side whose result is not the true one, or that cannot do the case."""


# ---- fovea ---------------------------------------------------------------------------------------------------------------------


def rows_of(lines):
    """A table in tsv as a list of dicts."""
    head, *rows = [line.rstrip("\n").split("\t") for line in lines]
    return [dict(zip(head, row)) for row in rows]


def fovea(program, *arguments):
    """The table a command of fovea prints, as a list of dicts."""
    done = subprocess.run([program, *arguments, "--output", "tsv"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Wrong(f"{' '.join(done.args)}: exit {done.returncode}\n{done.stderr}")
    return rows_of(done.stdout.splitlines())


class Fovea:
    """A problem that is open in a process of its own (`fovea bench attention --turns`). It checks its result before its first turn
    and sleeps between turns."""

    def __init__(self, program, what, *arguments):
        self.what, self.best, self.ms = what, None, float("inf")
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [program, "bench", "attention", "--turns", "--output", "tsv", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def turn(self, repeat):
        """The best time in ms of one turn; the row of the best one so far is kept."""
        lines = []
        try:
            print(repeat, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass
        for line in self.process.stdout:
            if line == "\n":
                break
            lines.append(line)
        else:
            self.process.wait()
            self.errors.seek(0)
            raise Wrong(f"{' '.join(self.process.args)}: exit {self.process.returncode}\n{self.errors.read()}")
        row = next(row for row in rows_of(lines) if row["pass"] == self.what)
        if float(row["best"]) < self.ms:
            self.best, self.ms = row, float(row["best"])
        return float(row["best"])

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.errors.close()


class Peer:
    """A callable with the same manners."""

    def __init__(self, run):
        self.run, self.ms = run, float("inf")

    def turn(self, repeat):
        best = min(times_ms(self.run, repeat))
        self.ms = min(self.ms, best)
        return best

    def close(self):
        self.run = None


def times_ms(run, repeat):
    """The times of `repeat` runs after one that warms up."""
    run()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return times


class Clock:
    """Shares what is left of the time budget among the turns that are left."""

    def __init__(self, minutes, rounds):
        self.end, self.rounds, self.left = time.monotonic() + 60 * minutes, rounds, 0

    def expect(self, sides):
        self.left += sides * (self.rounds + 1)

    def turn_seconds(self):
        return min(0.5, max(0.05, 0.6 * (self.end - time.monotonic()) / max(1, self.left)))

    def run(self, sides):
        """All turns of one measurement. A first short one, which is not the last word, tells how often to repeat."""
        repeat = []
        for side in sides:
            seconds = side.turn(1) / 1e3
            repeat.append(max(1 if seconds > 0.4 else 2, min(20000, int(self.turn_seconds() / seconds))))
        for _ in range(self.rounds):
            for side, n in zip(sides, repeat):
                side.turn(n)
                time.sleep(0.01)  # threads of the side that has just run go to sleep
        self.left -= len(sides) * (self.rounds + 1)


# ---- files ---------------------------------------------------------------------------------------------------------------------

KINDS = {"F32": numpy.float32, "F64": numpy.float64, "I32": numpy.int32}


def write_safetensors(path, tensors):
    kinds = {numpy.dtype(dtype): kind for kind, dtype in KINDS.items()}
    tensor_file.write(path, {name: (kinds[x.dtype], x.shape, numpy.ascontiguousarray(x).data) for name, x in tensors.items()})


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
    header.pop("__metadata__", None)
    return {name: numpy.memmap(path, KINDS[x["dtype"]], "r", start + x["data_offsets"][0], tuple(x["shape"]))
            for name, x in header.items()}


# ---- tables --------------------------------------------------------------------------------------------------------------------


lines = []  # everything that was said, for --page


def emit(text=""):
    lines.append(text)
    print(text, flush=True)


def put_into(page):
    """Replaces what stands between the two marks of a page by what was said."""
    begin, end = "<!-- bench/peers/run -->", "<!-- end -->"
    with open(page) as file:
        before, rest = file.read().split(begin)
        after = rest.split(end)[1]
    with open(page, "w") as file:
        file.write(f"{before}{begin}\n\n" + "\n".join(lines).strip() + f"\n\n{end}{after}")


class Table:
    """Rows are printed when they come: as Markdown, or in columns of fixed width."""

    def __init__(self, columns, markdown):
        self.markdown = markdown
        self.width = [max(len(name), 7) for name in columns]
        self.width[0] = max(self.width[0], 32)
        emit()
        self.row(columns)
        if markdown:
            emit("|" + "|".join(" ---: " if 2 <= i < len(columns) - (columns[-1] == "note") else " --- " for i in range(len(columns))) + "|")

    def row(self, cells):
        cells = ["-" if cell is None else cell if isinstance(cell, str) else number(cell) for cell in cells]
        if self.markdown:
            emit("| " + " | ".join(cells) + " |")
        else:
            emit("  ".join(f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
                           for i, (cell, width) in enumerate(zip(cells, self.width))).rstrip())


def number(x):
    return f"{x:,.0f}" if x >= 1000 else f"{x:.3g}" if x < 10 else f"{x:.1f}"


def times(x):
    return None if x is None else f"{x:.2f}"


def processors():
    return len(os.sched_getaffinity(0))
