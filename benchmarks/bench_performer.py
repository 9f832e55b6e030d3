"""Speed of the performer: seconds of performances drawn in a second of one core, and where the time goes.

python benchmarks/bench_performer.py

Times are processor times of this process, so that what else the machine does does not count.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from timing import print_table

from deeptalk.corpus.performer import Performer
from deeptalk.corpus.performer.emotion import emotion_pose
from deeptalk.corpus.performer.frames import FRAME_RATE
from deeptalk.corpus.performer.life import add_life
from deeptalk.corpus.performer.mouth import mouth_curves
from deeptalk.corpus.synthesis import demo_speech

PERFORMANCES = 4


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    performer, events = Performer.variant("standard"), demo_speech()[::4]
    seconds = sum(event.seconds for event in events)
    mouth_parameters, acting_parameters = performer.parameters.mouth, performer.parameters.acting
    mouths = {id(event): mouth_curves(event, mouth_parameters) for event in events}
    acted = {id(event): performer.draw(event, 1)[0] for event in events}
    parts: dict[str, Callable] = {
        f"performances(event, {PERFORMANCES})": lambda event: performer.performances(event, PERFORMANCES),
        "articulation (once a piece of speech)": lambda event: mouth_curves(event, mouth_parameters),
        "a draw": lambda event: performer.draw(event, 1),
        "acting it": lambda event: performer.perform(event, acted[id(event)], mouths[id(event)]),
        "of that, the emotion": lambda event: emotion_pose(
            (one := acted[id(event)]).choice, one.style, one.timing, event, mouths[id(event)], acting_parameters
        ),
        "of that, blinks and gaze": lambda event: add_life(
            np.zeros((int(event.seconds * FRAME_RATE), 52)), FRAME_RATE, 1, event.samples, performer.rig
        ),
    }
    rows = []
    for name, function in parts.items():
        spent = processor_seconds(function, events)
        done = seconds * (PERFORMANCES if name.startswith("performances") else 1)
        rows.append([name, f"{1000 * spent / len(events):.2f} ms", f"{done / spent:.0f}"])
    title = f"Performer, {len(events)} clips of {seconds / len(events):.1f} s"
    print_table(title, ["what", "processor time a clip", "x real time"], rows)


def processor_seconds(function: Callable, events: list) -> float:
    """Least of three rounds over the events, after one that loads and allocates."""
    laps = []
    for _ in range(4):
        started = time.process_time()
        for event in events:
            function(event)
        laps.append(time.process_time() - started)
    return min(laps[1:])


if __name__ == "__main__":
    main()
