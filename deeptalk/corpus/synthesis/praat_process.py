"""A process of its own for eSpeak, which remembers what it said before: every line is spoken by a fresh fork.

Run as a script by praat.py: reads one JSON request a line ({language, speaker, settings, text}) and answers each with
one JSON line ({labels, samples} or {error}) and the samples as float32 bytes. It imports nothing of deeptalk.
"""

import json
import os
import struct
import sys
from typing import Any

PHONEME_TIER = 4


def spoken(request: dict[str, Any]) -> tuple[list[tuple[str, float, float]], bytes]:
    """Labels (text, start and end in seconds) of the phoneme tier, and the samples."""
    import numpy as np
    from parselmouth.praat import call

    synthesizer = call("Create SpeechSynthesizer", request["language"], request["speaker"])
    call(synthesizer, "Speech output settings", *request["settings"])
    grid, sound = call(synthesizer, "To Sound", request["text"], "yes")
    labels = [
        (
            call(grid, "Get label of interval", PHONEME_TIER, place),
            call(grid, "Get start point", PHONEME_TIER, place),
            call(grid, "Get end point", PHONEME_TIER, place),
        )
        for place in range(1, call(grid, "Get number of intervals", PHONEME_TIER) + 1)
    ]
    return labels, np.asarray(sound.values[0], "<f4").tobytes()


def _answer(request: dict[str, Any]) -> bytes:
    try:
        labels, samples = spoken(request)
        head = json.dumps({"labels": labels}).encode()
    except Exception as error:
        head, samples = json.dumps({"error": str(error).strip()}).encode(), b""
    return struct.pack("<II", len(head), len(samples)) + head + samples


def main() -> None:
    """Answer requests until there are no more."""
    import parselmouth  # noqa: F401  (loaded once, before any fork)

    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
                out.write(_answer(json.loads(line)))
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
