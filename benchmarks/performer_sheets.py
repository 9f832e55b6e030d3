"""Contact sheets of the performer for viewers: what emotion is acted, from stills over time, names shuffled away.

python benchmarks/performer_sheets.py OUT             # OUT/sheet_01.png ..., OUT/key.json, and all at a glance
python benchmarks/performer_sheets.py OUT --seed 3    # other performances in another order

Each sheet is one performance: a strip of stills at even distances over the clip. For every emotion and each of two
voices of the vendored speech, the performance is the first draw to a sentence that sounds like the emotion which also
acts it; nothing is picked by eye.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from deeptalk.corpus.performer import Performance, Performer, SpeechEvent
from deeptalk.corpus.synthesis import demo_speech
from deeptalk.emotions import EMOTIONS
from deeptalk.face import load_rig
from deeptalk.render import contact_sheet, render_frames, write_png

STILLS, STILL_PIXELS = 8, 300
COLUMNS = 4


def main() -> None:
    """Draw, render and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variant", default="standard")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    performer = Performer.variant(arguments.variant)
    generator = np.random.default_rng(arguments.seed)
    chosen = [one for emotion in range(len(EMOTIONS)) for one in performances(performer, emotion, generator)]
    key, apexes = {}, []
    for number, place in enumerate(generator.permutation(len(chosen)), start=1):
        event, performance = chosen[place]
        frames = np.linspace(0, len(performance.motion) - 1, STILLS + 2)[1:-1].round().astype(int)
        images = render_frames(load_rig("arkit"), performance.motion[frames], STILL_PIXELS)
        labels = [f"{(frame + 0.5) / 25:.2f} s" for frame in frames]
        write_png(arguments.out / f"sheet_{number:02d}.png", contact_sheet(images, labels, columns=COLUMNS))
        apexes.append(images[STILLS // 2])
        key[f"sheet_{number:02d}"] = {
            "emotion": performance.emotion_name,
            "reading": performance.reading,
            "intensity": round(performance.intensity, 2),
            "voice": event.speaker,
            "text": event.text,
        }
    names = [f"{number:02d}" for number in range(1, len(apexes) + 1)]
    write_png(arguments.out / "all.png", contact_sheet(np.stack(apexes), names, columns=COLUMNS))
    (arguments.out / "key.json").write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")
    print(f"{len(key)} sheets in {arguments.out}, made by {performer.version}")


def performances(
    performer: Performer, emotion: int, generator: np.random.Generator
) -> list[tuple[SpeechEvent, Performance]]:
    """One performance of an emotion by each of two voices."""
    found = []
    for split in ("val", "test"):
        sounding = [event for event in demo_speech() if event.split == split and event.affect is not None]
        events = [event for event in sounding if event.affect.sound_class == emotion]
        event = events[generator.integers(len(events))]
        seed = int(generator.integers(1000))
        drawn = performer.draw(event, 40, seed=seed)
        acting = next(one for one in drawn if one.choice.emotion == emotion)
        found.append((event, performer.perform(event, acting)))
    return found


if __name__ == "__main__":
    main()
