"""Idle life: blinks, gaze and slight head motion, drawn apart from the model so that a face does not stare.

Blinks and saccades are drawn as events in seconds and only then looked at frame by frame, so a seed blinks at the same
instants at every frame rate. Without sound a short clip is the beginning of a long one of the same seed; with sound the
pauses of the whole clip decide when a blink is likely, so it is not.

Figures and where they are from (docs/viewer.md shows what the drawn ones come to):

* Blink rate in conversation: 10.5 to 32.5 a minute (Doughty 2001, Optom Vis Sci 78:712); 26 a minute with a log-normal
  spread over people (Bentivoglio et al. 1997, Mov Disord 12:1028). Intervals are highly skewed (Garcia et al. 2011,
  Invest Ophthalmol Vis Sci 52:3419); that they are log-normal is our choice of such a distribution.
* A blink lasts 334 +- 67 ms (VanderWerf et al. 2003, J Neurophysiol 89:2784) and opens slower than it closes (Evinger
  et al. 1991, Invest Ophthalmol Vis Sci 32:387; Trutoiu et al. 2011, ACM Trans Appl Percept 8:17).
* Blinks of a speaker come at pauses and ends of phrases (Nakano and Kitazawa 2010, Exp Brain Res 205:577).
* A speaker looks at the other for 3.13 s and away for 0.93 s on average; size and direction of saccades (Lee, Badler
  and Badler 2002, "Eyes alive", ACM Trans Graph 21:637).
* A saccade of A degrees lasts 21 + 2.2 A ms (Carpenter 1988, "Movements of the eyes"), the main sequence of Bahill,
  Clark and Stark 1975 (Math Biosci 24:191).
* On a face, gaze moves between eyes and mouth (Rogers et al. 2018, Sci Rep 8:4271).
* The head hardly ever rests while talking, and moves with stress (Hadar et al. 1983, Hum Mov Sci 2:35).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import BSpline
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from deeptalk.errors import UserError
from deeptalk.face.channels import BLINK_AND_GAZE, CHANNELS
from deeptalk.face.lids import limit_blink
from deeptalk.face.rig import Rig

BLINK_AND_GAZE_COLUMNS = [CHANNELS.index(name) for name in BLINK_AND_GAZE]
"""Columns of an ARKit motion that idle life moves."""

SAMPLE_RATE = 16_000
"""Of the speech that is handed in."""

BLINK_RATE_RANGE = (10.5, 32.5)
"""Blinks a minute."""
MEDIAN_BLINK_RATE, LOG_BLINK_RATE_SPREAD = 21.0, 0.25
LOG_INTERVAL_SPREAD = 0.6
"""Standard deviation of the log of the time from blink to blink, which is log-normal."""
CLOSING_SECONDS, OPENING_SECONDS = (0.07, 0.10), (0.16, 0.26)
CLOSED_SECONDS = 0.04
"""Never shorter than a frame, so every blink is seen closed."""
PAUSE_FACTOR = 3.0
"""How much likelier a blink is in a pause than in speech."""

FULL_GAZE_DEGREES = (14.0, 10.0)
"""Yaw and pitch of the built-in head's eyes at 1.0 of a look channel, which carries the lids along, as ARKit's do."""
ARKIT_FULL_GAZE_DEGREES = (34.0, 34.0)
"""The same where Apple's tracker says 1.0: slope of eye angles over look coefficients in a Live Link Face recording."""
LARGEST_SHARE = 0.95
"""Of a look channel."""
AT_VIEWER_SECONDS, AWAY_SECONDS = (3.13, 3.16), (0.93, 0.80)
"""Mean and standard deviation of how long a speaker looks at the other, and away; log-normal here."""
FIXATION_SECONDS = (0.6, 0.4)
"""Mean and standard deviation of one look at an eye or the mouth of the other; log-normal."""
SHORTEST_FIXATION_SECONDS = 0.15
VIEWER_DEGREES = np.array([[1.5, 0.0], [-1.5, 0.0], [0.0, -3.0]])
"""Yaw and pitch of the other's eyes and mouth at about 1.2 m."""
VIEWER_SHARES = (0.4, 0.4, 0.2)
SACCADE_SHARES = np.array([15.54, 6.46, 17.69, 7.44, 16.80, 7.89, 20.38, 7.79])
"""Relative frequency of directions 0, 45, ..., 315 degrees, counter-clockwise from the right (Lee et al.)."""
SMALLEST_AWAY_DEGREES = 4.0
MEAN_SACCADE_DEGREES = 6.9
"""Scale of the exponential distribution of sizes (Lee et al.)."""
SACCADE_SECONDS, SACCADE_SECONDS_PER_DEGREE = 0.021, 0.0022

DRIFT_DEGREES = (1.5, 1.1, 0.9)
"""Standard deviation of yaw, pitch and roll of the drift."""
DRIFT_SPACINGS_SECONDS = (4.0, 2.0, 1.0, 0.5)
"""Distance of the knots of each octave; amplitude falls with its square root, so power falls with frequency squared."""
NOD_DEGREES, NOD_SECONDS, NOD_SHARE = (0.6, 2.0), 0.5, 0.6
"""Depth and length of a nod on a loud syllable, and how many of those syllables get one."""

_WARM_UP_SECONDS = 20.0
"""Events are drawn from before the clip on, so its beginning is like its middle."""


@dataclass(frozen=True)
class Idle:
    """Life that speech hardly determines, for as many frames as were asked for."""

    motion: np.ndarray
    """(frame, 52) float32 in the order of `CHANNELS`, 0..1; only the `BLINK_AND_GAZE` columns are not zero."""
    head_rotation_radians: np.ndarray
    """(frame, 3) float32 yaw, pitch, roll; see `deeptalk.face.head_pose`."""


def idle_life(
    frame_count: int,
    frame_rate: float,
    seed: int,
    samples: Float[np.ndarray, "sample"] | None = None,
    head: bool = True,
    full_gaze_degrees: tuple[float, float] = FULL_GAZE_DEGREES,
) -> Idle:
    """Draw blinks, gaze and head motion; the same arguments give the same values.

    Args:
        frame_count: how many frames; frame f shows the instant (f + 0.5) / frame_rate.
        frame_rate: frames a second.
        seed: from 0 on.
        samples: mono speech at 16 kHz of the same length: blinks then prefer pauses, and loud syllables get nods.
        head: whether the head moves; the eyes turn against it, so the gaze stays where it is. Without, they do not.
        full_gaze_degrees: yaw and pitch of the character's eyes at 1.0 of a look channel: those of the built-in head,
            or `ARKIT_FULL_GAZE_DEGREES` for a character that follows Apple's tracker. Gaze ends where they end.

    Raises UserError for no frames, a rate or seed that makes no sense, or speech of another length.
    """
    _check(frame_count, frame_rate, seed, samples)
    times = (np.arange(frame_count) + 0.5) / frame_rate
    seconds = frame_count / frame_rate
    # One generator each: a change of one part leaves the others as they were.
    blinks, gaze, drift, nods = (np.random.default_rng([seed, part]) for part in range(4))
    level = None if samples is None else speech_level(samples)
    closed = _lid_closure(times, *draw_blinks(blinks, seconds, level), max(CLOSED_SECONDS, 1.0 / frame_rate))
    eyes = _eye_degrees(times, *draw_gaze(gaze, seconds))
    rotation = np.zeros((frame_count, 3))
    if head:
        rotation = _drift_degrees(times, drift, seconds)
        if level is not None:
            rotation[:, 1] += _nod_degrees(times, nods, level)
        eyes = eyes - rotation[:, :2] * (1.0, -1.0)
    motion = np.zeros((frame_count, len(CHANNELS)), np.float32)
    for name, values in {**_look(eyes / full_gaze_degrees), "eyeBlinkLeft": closed, "eyeBlinkRight": closed}.items():
        motion[:, CHANNELS.index(name)] = values
    return Idle(motion, np.radians(rotation).astype(np.float32))


def with_idle(
    motion: Float[np.ndarray, "frame 52"], idle: Float[np.ndarray, "frame 52"], rig: Rig
) -> Float[np.ndarray, "frame 52"]:
    """An ARKit motion whose blinks and gaze are those of `Idle.motion`, closing the lids of the rig and no more."""
    joined = motion.copy()
    joined[:, BLINK_AND_GAZE_COLUMNS] = idle[:, BLINK_AND_GAZE_COLUMNS]
    limit_blink(joined, rig)
    return joined


def _check(frame_count: int, frame_rate: float, seed: int, samples: np.ndarray | None) -> None:
    if frame_count < 1:
        raise UserError(f"frame_count={frame_count}: ask for at least one frame of idle life.")
    if not (np.isfinite(frame_rate) and frame_rate > 0):
        raise UserError(f"frame_rate={frame_rate}: expected frames a second, above 0.")
    if seed < 0:
        raise UserError(f"seed={seed}: seeds are whole numbers from 0 on.")
    if samples is not None and abs(len(samples) / SAMPLE_RATE * frame_rate - frame_count) > 1.0:
        raise UserError(
            f"The speech lasts {len(samples) / SAMPLE_RATE:.2f} s at 16 kHz, but {frame_count} frames at "
            f"{frame_rate:g} Hz last {frame_count / frame_rate:.2f} s; hand in the speech of the motion, at 16 kHz."
        )


LEVEL_RATE = 100
"""Values a second of `speech_level`."""
_PAUSE_DB, _SHORTEST_PAUSE_SECONDS = -30.0, 0.2


def speech_level(samples: Float[np.ndarray, "sample"]) -> Float[np.ndarray, "step"]:
    """Level in dB below the loud parts of the clip (its 95th percentile), 100 values a second, smoothed over 30 ms."""
    hop = SAMPLE_RATE // LEVEL_RATE
    padded = np.concatenate([samples.astype(np.float64), np.zeros(-len(samples) % hop)])
    power = gaussian_filter1d((padded.reshape(-1, hop) ** 2).mean(axis=1), 3.0, mode="constant")
    return 10.0 * np.log10(np.maximum(power, 1e-12) / max(float(np.percentile(power, 95)), 1e-12))


def pauses(level: Float[np.ndarray, "step"]) -> np.ndarray:
    """Boolean (step,): where the level has been low for 0.2 s or more."""
    low = np.concatenate([[False], level < _PAUSE_DB, [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(low))
    quiet = np.zeros(len(level), bool)
    for start, end in zip(edges[::2], edges[1::2]):
        quiet[start:end] = end - start >= _SHORTEST_PAUSE_SECONDS * LEVEL_RATE
    return quiet


def _log_normal(generator: np.random.Generator, mean: float, deviation: float) -> float:
    variance = np.log1p((deviation / mean) ** 2)
    return float(np.exp(generator.normal(np.log(mean) - variance / 2, np.sqrt(variance))))


def draw_blinks(
    generator: np.random.Generator, seconds: float, level: Float[np.ndarray, "step"] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, closing time and opening time of each blink, all (blink,) seconds.

    Intervals are log-normal in a time that runs `PAUSE_FACTOR` times as fast in pauses, as fast as ours on average.
    """
    rate = MEDIAN_BLINK_RATE * np.exp(LOG_BLINK_RATE_SPREAD * generator.normal())
    mean = 60.0 / float(np.clip(rate, *BLINK_RATE_RANGE))
    deviation = mean * np.sqrt(np.expm1(LOG_INTERVAL_SPREAD**2))
    at, drawn = -_WARM_UP_SECONDS, []
    while at < seconds:
        at += _log_normal(generator, mean, deviation)
        drawn.append((at, generator.uniform(*CLOSING_SECONDS), generator.uniform(*OPENING_SECONDS)))
    starts, closing, opening = np.array(drawn).T
    if level is not None:
        speed = np.where(pauses(level), PAUSE_FACTOR, 1.0)
        passed = np.concatenate([[0.0], np.cumsum(speed)]) * seconds / speed.sum()
        inside = (starts >= 0) & (starts < seconds)
        starts[inside] = np.interp(starts[inside], passed, np.linspace(0.0, seconds, len(passed)))
    kept = (starts > -1.0) & (starts < seconds)
    return starts[kept], closing[kept], opening[kept]


def _smooth_step(share: np.ndarray) -> np.ndarray:
    """0 to 1 with least jerk (Flash and Hogan 1985)."""
    x = np.clip(share, 0.0, 1.0)
    return x**3 * (10.0 - 15.0 * x + 6.0 * x**2)


def _lid_closure(
    times: np.ndarray, starts: np.ndarray, closing: np.ndarray, opening: np.ndarray, closed: float
) -> np.ndarray:
    """(frame,) 0 open to 1 closed; the opening is quick at first and then slow."""
    since = times[:, None] - starts
    down = _smooth_step(since / closing)
    up = _smooth_step(np.clip((since - closing - closed) / opening, 0.0, 1.0) ** 0.7)
    return np.max(down * (1.0 - up), axis=1, initial=0.0)


def draw_gaze(generator: np.random.Generator, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Start (saccade,) in seconds and target (saccade, 2), yaw and pitch in degrees, of each saccade.

    Positive yaw is to the character's left, positive pitch up; (0, 0) is between the viewer's eyes.
    """
    at, starts, targets = -_WARM_UP_SECONDS, [], []
    while at < seconds:
        end = at + _log_normal(generator, *AT_VIEWER_SECONDS)
        while at < end:
            starts.append(at)
            targets.append(VIEWER_DEGREES[generator.choice(len(VIEWER_DEGREES), p=VIEWER_SHARES)])
            at += max(_log_normal(generator, *FIXATION_SECONDS), SHORTEST_FIXATION_SECONDS)
        starts.append(at)
        targets.append(_away_degrees(generator))
        at += max(_log_normal(generator, *AWAY_SECONDS), SHORTEST_FIXATION_SECONDS)
    return np.array(starts), np.array(targets)


def _away_degrees(generator: np.random.Generator) -> np.ndarray:
    angle = np.pi / 4 * generator.choice(len(SACCADE_SHARES), p=SACCADE_SHARES / SACCADE_SHARES.sum())
    size = max(SMALLEST_AWAY_DEGREES, generator.exponential(MEAN_SACCADE_DEGREES))
    target = size * np.array([np.cos(angle), np.sin(angle)])
    # Within the ellipse that the built-in head's look channels reach, on every character.
    reach = np.hypot(*(target / FULL_GAZE_DEGREES)) / LARGEST_SHARE
    return target / max(reach, 1.0)


def _eye_degrees(times: np.ndarray, starts: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(frame, 2) yaw and pitch of the gaze."""
    before = np.concatenate([targets[:1], targets[:-1]])
    lasts = SACCADE_SECONDS + SACCADE_SECONDS_PER_DEGREE * np.linalg.norm(targets - before, axis=1)
    now = np.searchsorted(starts, times, side="right") - 1
    share = _smooth_step((times - starts[now]) / lasts[now])[:, None]
    return before[now] + share * (targets[now] - before[now])


def _look(eyes: np.ndarray) -> dict[str, np.ndarray]:
    """Look channels of a gaze (frame, 2), 1 where the look channels end."""
    left, up = eyes.clip(-1.0, 1.0).T
    parts = {"Up": (up, up), "Down": (-up, -up), "Out": (left, -left), "In": (-left, left)}
    return {
        f"eyeLook{name}{side}": np.maximum(values, 0.0)
        for name, both in parts.items()
        for side, values in zip(("Left", "Right"), both)
    }


def _drift_degrees(times: np.ndarray, generator: np.random.Generator, seconds: float) -> np.ndarray:
    """(frame, 3) sum of octaves of smooth noise: uniform cubic B-splines through random knots."""
    generators = generator.spawn(len(DRIFT_SPACINGS_SECONDS))
    powers = np.array(DRIFT_SPACINGS_SECONDS) / sum(DRIFT_SPACINGS_SECONDS)
    spline_variance = 151.0 / 315.0  # mean over a knot interval of the sum of squares of the cubic basis
    total = np.zeros((len(times), 3))
    for spacing, power, own in zip(DRIFT_SPACINGS_SECONDS, powers, generators):
        phase = own.random()
        weights = own.normal(size=(int(np.ceil(seconds / spacing)) + 5, 3))
        spline = BSpline(np.arange(len(weights) + 4) - 3.0, weights, 3)
        total += np.sqrt(power / spline_variance) * spline(times / spacing + phase)
    return total * DRIFT_DEGREES


def _nod_degrees(times: np.ndarray, generator: np.random.Generator, level: Float[np.ndarray, "step"]) -> np.ndarray:
    """(frame,) downward pitch on some of the loud syllables."""
    loudness = gaussian_filter1d(10.0 ** (np.minimum(level, 3.0) / 20.0), 8.0, mode="constant")
    peaks, _ = find_peaks(loudness, height=0.35, distance=int(0.6 * LEVEL_RATE), prominence=0.08)
    pitch = np.zeros(len(times))
    for peak in peaks:
        chosen, depth = generator.random() < NOD_SHARE, generator.uniform(*NOD_DEGREES)
        if chosen:
            share = np.clip((times - (peak + 0.5) / LEVEL_RATE) / NOD_SECONDS + 0.5, 0.0, 1.0)
            pitch += depth * min(loudness[peak], 1.0) * 64.0 * (share * (1.0 - share)) ** 3
    return pitch
