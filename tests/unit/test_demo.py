"""What the demo says of itself."""

import pytest

from deeptalk.corpus import SpeechRow
from deeptalk.demo import introduction
from deeptalk.speech import SAMPLE_RATE


def row(split, speaker, num_samples):
    return SpeechRow("clip", speaker, "sentence", "Words.", 0, None, split, (), num_samples, 0, None, None)


@pytest.mark.parametrize(
    ("clips", "voices", "expected"),
    [
        (40, 4, "on 2.0 minutes of speech in 4 synthetic voices:"),
        (40, 1, "on 2.0 minutes of speech in 1 synthetic voice:"),
        (3600, 120, "on 3.0 hours of speech in 120 synthetic voices:"),
    ],
)
def test_introduction_is_true_of_the_corpus(clips, voices, expected):
    train = [row("train", f"voice {i % voices}", 3 * SAMPLE_RATE) for i in range(clips)]
    assert expected in introduction(train + [row("test", "held out", SAMPLE_RATE)] * 9)
