"""Timing and tables shared by the benchmarks."""

import time
from collections.abc import Callable, Mapping, Sequence

import torch


def median_seconds(
    functions: Mapping[str, Callable[[], object]],
    seconds_each: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each function, taken in turn, so that what else the machine does falls on all alike.

    With `clock=time.process_time`, for one thread, what others do while the process waits is not counted.
    """
    for function in functions.values():
        function()  # the first call loads and allocates
    laps: dict[str, list[float]] = {name: [] for name in functions}
    until = time.perf_counter() + seconds_each * len(functions)
    while time.perf_counter() < until or min(map(len, laps.values())) < 3:
        for name, function in functions.items():
            started = clock()
            function()
            laps[name].append(clock() - started)
    return {name: sorted(values)[len(values) // 2] for name, values in laps.items()}


def milliseconds(seconds: float) -> str:
    """Seconds as text in milliseconds."""
    return f"{1000 * seconds:.3g} ms"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    print(f"{title} (torch {torch.__version__}, {torch.get_num_threads()} threads)\n\n{text}\n", flush=True)
