"""Measure the statistics of real speech that deeptalk.speech normalises with.

    python scripts/measure_prosody_statistics.py shared/data

reads `nvidia_a2f_emotional_audio` (Apache-2.0: Claire, Mark) and `facegood_zh_blendshapes` (MIT: one actor) in the
given folder and writes deeptalk/speech/assets/population_statistics.json. Prosody counts voiced frames, log-mel all
frames. Speakers weigh the same however much of them there is; the spread is that within and between them together.
"""

import sys
from pathlib import Path

import torch
from rich.progress import track

from deeptalk.files import file_sha256, write_json
from deeptalk.speech.logmel import log_mel
from deeptalk.speech.prosody import CHANNELS, NORMALISED, voiced_frames
from deeptalk.speech.waveform import load_waveform

OUTPUT = Path(__file__).parents[1] / "deeptalk" / "speech" / "assets" / "population_statistics.json"
SPEAKERS = {
    "nvidia Claire": ("nvidia_a2f_emotional_audio", "Claire_*.flac"),
    "nvidia Mark": ("nvidia_a2f_emotional_audio", "Mark_*.flac"),
    "facegood actor": ("facegood_zh_blendshapes", "1114_2_*.flac"),
}


def mean_and_std(speakers: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation over frames, every speaker with the same weight."""
    means = torch.stack([frames.double().mean(dim=0) for frames in speakers])
    squares = torch.stack([frames.double().square().mean(dim=0) for frames in speakers])
    mean = means.mean(dim=0)
    return mean, (squares.mean(dim=0) - mean.square()).sqrt()


def rounded(values: torch.Tensor) -> list[float]:
    """Return numbers that read well in JSON."""
    return [round(value, 4) for value in values.tolist()]


def main(data: Path) -> None:
    """Measure and write."""
    prosody, logmel, sources = [], [], {}
    for speaker, (folder, pattern) in SPEAKERS.items():
        paths = sorted((data / folder).glob(pattern))
        if not paths:
            sys.exit(f"{data / folder} holds no {pattern}; give the folder that holds the two data sets.")
        waveforms = [load_waveform(path) for path in track(paths, description=speaker)]
        prosody.append(torch.cat([voiced_frames(waveform) for waveform in waveforms]))
        logmel.append(torch.cat([log_mel(torch.from_numpy(waveform.samples)[None])[0] for waveform in waveforms]))
        sources[speaker] = {
            "seconds": round(sum(waveform.seconds for waveform in waveforms), 2),
            "voiced_frames": len(prosody[-1]),
            "voiced_mean": {CHANNELS[i]: round(float(prosody[-1][:, i].mean()), 4) for i in NORMALISED},
            "files": {path.name: file_sha256(path) for path in paths},
        }
    mean, std = mean_and_std(prosody)
    mel_mean, mel_std = mean_and_std(logmel)
    write_json(
        OUTPUT,
        {
            "made_by": "scripts/measure_prosody_statistics.py",
            "licences": "NVIDIA Audio2Face-3D-Samples: Apache-2.0; FACEGOOD-Audio2Face: MIT. Numbers only, no audio.",
            "speakers": sources,
            "prosody": {
                CHANNELS[i]: {"mean": round(float(mean[i]), 4), "std": round(float(std[i]), 4)} for i in NORMALISED
            },
            "logmel": {"mean": rounded(mel_mean), "std": rounded(mel_std)},
        },
    )
    print(f"wrote {OUTPUT}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
