"""What attention.py and train.py share: running fovea, timing a peer, one row of the table.

A measurement is repeated in rounds, ours and the peer in turn, so that both meet the same moods of the machine, and the best counts.
"""

import subprocess
import time


def fovea(program, *arguments):
    """The table `fovea bench` prints, as a list of dicts."""
    done = subprocess.run([program, "bench", *arguments, "--output", "tsv"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(done.args)}: exit {done.returncode}\n{done.stderr}")
    head, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    return [dict(zip(head, row)) for row in rows]


def times_ms(run, repeat):
    """The times of `repeat` runs after one that warms up."""
    run()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def number(x):
    return f"{x:,.0f}" if x >= 1000 else f"{x:.3g}"


def row(case, what, unit, ours, peers, faster):
    """Prints one line. `faster(ours, peer)` is how many times as fast as the peer we are; None stands for `cannot`."""
    cells = [case, what, unit, number(ours)]
    for peer in peers:
        cells += ["-", "-"] if peer is None else [number(peer), f"{faster(ours, peer):.2f}"]
    print("| " + " | ".join(cells) + " |", flush=True)
