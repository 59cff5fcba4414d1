"""What attention.py and train.py share: running fovea, timing a peer, one row of the table.

A measurement is repeated in rounds, ours and the peer in turn, so that both meet the same moods of the machine. Each round gives
the median of its runs; the best round counts.
"""

import statistics
import subprocess
import time


def fovea(program, *arguments):
    """The table `fovea bench` prints, as a list of dicts."""
    done = subprocess.run([program, "bench", *arguments, "--output", "tsv"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(done.args)}: exit {done.returncode}\n{done.stderr}")
    head, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    return [dict(zip(head, row)) for row in rows]


def median_ms(run, repeat):
    """Median time of `repeat` runs after one that warms up."""
    run()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def row(case, what, unit, ours, peers, faster):
    """Prints one line. `faster(ours, peer)` is how many times as fast as the peer we are; None stands for `cannot`."""
    cells = [case, what, unit, f"{ours:.4g}"]
    for peer in peers:
        cells += ["-", "-"] if peer is None else [f"{peer:.4g}", f"{faster(ours, peer):.2f}"]
    print("| " + " | ".join(cells) + " |", flush=True)
