"""docs/performer.md says what the code does: its tables, and the numbers inside its sentences."""

import re
from pathlib import Path

import numpy as np
import pytest

from deeptalk.corpus.performer import VARIANTS, Parameters, affect, distribution, visemes
from deeptalk.corpus.performer.facs import ACTION_UNITS
from deeptalk.corpus.performer.lips import BELOW_TEETH_METRES, CLOSURE_GAP_METRES, LEAST_GAP_METRES, RAMP_SECONDS
from deeptalk.corpus.performer.mouth import undershoot_gain
from deeptalk.corpus.performer.readings import READINGS
from deeptalk.emotions import EMOTIONS

TEXT = (Path(__file__).parents[2] / "docs" / "performer.md").read_text(encoding="utf-8")


def tables_after(heading):
    """Rows (list of cells) of every table under a heading, without its header."""
    section = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    tables = [found.group(0).splitlines()[2:] for found in re.finditer(r"(?:^\|.*\n)+", section, re.MULTILINE)]
    return [[[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows] for rows in tables]


def table_after(heading):
    """Rows of the first table under a heading."""
    return tables_after(heading)[0]


def test_tables_of_affect_and_confusion():
    settings = [list(map(float, row[1:])) for row in table_after("Affect")]
    weak, strong = affect.WEAK_SETTINGS.tolist(), affect.STRONG_SETTINGS.tolist()
    assert settings == [*weak, *strong, affect.SETTING_SPREAD.tolist(), affect.EFFORT.tolist()]
    assert [row[0].split(",")[0] for row in table_after("Affect")[:8]] == list(EMOTIONS)
    confusion = [list(map(float, row[1:])) for row in table_after("Emotion and intensity")]
    assert confusion == distribution.CONFUSION.tolist()


def test_table_of_readings():
    for row, reading in zip(table_after("Readings"), READINGS, strict=True):
        units, _, side = row[5].partition("; one-sided ")
        assert (row[0], row[1]) == (reading.emotion, reading.name)
        assert tuple(map(float, row[2:5])) == (reading.weak, reading.strong, reading.pace)
        assert {f"AU{unit.split()[0]}": float(unit.split()[1]) for unit in units.split(", ")} == reading.units
        assert float(side or 0) == reading.one_sided


def test_tables_of_units_and_phones():
    units, phones = tables_after("Units and phones on channels")
    assert {f"AU{row[0]}": channels_of(row[1]) for row in units} == ACTION_UNITS
    found = {symbol: row for row in phones for symbol in row[0].split()}
    assert set(found) == {*visemes.MOUTH_TARGETS, *visemes.SAME_TARGETS}
    for symbol, (_, weights, targets) in found.items():
        base = visemes.SAME_TARGETS.get(symbol, symbol)
        assert channels_of(targets) == visemes.MOUTH_TARGETS[base]
        dominance = visemes.JAW_DOMINANCE[base], visemes.LIP_DOMINANCE[base], visemes.TONGUE_DOMINANCE[base]
        assert tuple(map(float, weights.split(", "))) == dominance


def channels_of(cell):
    return {name: float(value) for name, value in (part.split() for part in cell.split(", "))}


def test_table_of_variants():
    assert [row[0] for row in table_after("Variants")] == list(VARIANTS)


PARAMETERS = Parameters()
MOUTH, ACTING, STYLE = PARAMETERS.mouth, PARAMETERS.acting, PARAMETERS.style


@pytest.mark.parametrize(
    "sentence",
    [
        f"tau {1000 * MOUTH.jaw_seconds:.0f} ms for jaw and tongue, {1000 * MOUTH.lip_seconds:.0f} ms for the rest",
        f"split at {100 * MOUTH.diphthong_part:.0f} %",
        f"1 + {MOUTH.opening_per_decibel} per dB above {MOUTH.reference_level_decibels:g} dB of full scale, held in "
        f"{MOUTH.level_gain_range[0]:.2f}..{MOUTH.level_gain_range[1]:.2f}",
        f"(1 - {MOUTH.undershoot} exp(-length / {1000 * MOUTH.undershoot_seconds:.0f} ms)) over its value at "
        f"{1000 * MOUTH.full_vowel_seconds:.0f} ms",
        "{:.2f} at 50 ms, {:.2f} at 200 ms".format(*undershoot_gain(np.array([0.05, 0.2]), MOUTH)),
        "{1} primary, {2:g} secondary, {0} none".format(*MOUTH.stress_gains),
        f"to 1 after {MOUTH.rest_seconds} s",
        f"({ACTING.least_amplitude} + {1 - ACTING.least_amplitude:.2f} i; 1 for neutral)",
        f"a swell of {1000 * ACTING.stress_seconds:.0f} ms",
        f"raise the brows by {ACTING.brow_beat} x emphasis",
        f"dB below the loudest of them, held in {ACTING.least_stress}..1",
        f"the strong one by 1 + {ACTING.strong_side_share} |lean|",
        f"fully rounded lips leave {ACTING.rounded_share} of smile, stretch and dimple",
        f"a gap of {1000 * CLOSURE_GAP_METRES:.1f} mm at /p b m/",
        f"lower lip {1000 * BELOW_TEETH_METRES:.1f} mm below the edge of the upper teeth",
        f"a gap never below {1000 * LEAST_GAP_METRES:.1f} mm",
        f"half cosines of {1000 * RAMP_SECONDS:.0f} ms",
        f"{ACTING.speaking_share} of its emotion and {ACTING.speaking_jaw_share} of its jaw drop",
        f"({', '.join(map(str, ACTING.wander_hertz))} Hz, size {ACTING.wander_size} each)",
        "standard deviation {:.2f}, {:.2f}, {:.2f}".format(*STYLE.log_gain_spread),
        "uniform {:.2f}..{:.2f}".format(*STYLE.emphasis_range),
        f"standard deviation {STYLE.asymmetry_spread}, held in -{STYLE.largest_asymmetry}..{STYLE.largest_asymmetry}",
        "{:.2f}..{:.2f} s; {:.2f}..{:.2f} s".format(*STYLE.onset_seconds, *STYLE.rise_seconds),
        "{:.2f}..{:.2f} s; {:.2f}..{:.2f} s".format(*STYLE.offset_seconds, *STYLE.fall_seconds),
        "uniform {:.2f}..{:.2f}; {:.2f}..{:.2f}".format(*STYLE.anticipation, *STYLE.residue),
    ],
)
def test_numbers_in_sentences(sentence):
    assert sentence in " ".join(TEXT.split())
