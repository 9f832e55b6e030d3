"""What is odd about a corpus, in sentences: every check says what it found, also when all is well."""

from collections.abc import Iterator
from typing import Any

from deeptalk.corpus.inspect_sound import OUTLYING_FRAMES
from deeptalk.corpus.wording import counted

FEWEST_SHARE = 0.5
"""An emotion with less than this share of an even part is rare."""
LEAST_CLOSED_SHARE = 0.98
LARGEST_LAG_FRAMES = 1
SATURATED_SHARE = 0.05

Finding = tuple[str, str]
"""Level (problem, note, good) and sentence."""


def findings_of(values: dict[str, Any]) -> list[dict[str, str]]:
    """Problems first, then notes, then what is well."""
    order = ("problem", "note", "good")
    found = [
        *_splits(values["counts"]),
        *_emotions(values["balance"]),
        *_channels(values["channels"]),
        *_lag(values["lag"]),
        *_closures(values["closures"]),
        *_sound(values["sound"]),
        *_origin(values),
    ]
    return [{"level": level, "text": text} for level, text in sorted(found, key=lambda one: order.index(one[0]))]


def _splits(counts: dict[str, Any]) -> Iterator[Finding]:
    missing = [name for name in ("train", "val") if name not in counts["splits"]]
    if missing:
        yield (
            "note",
            f"There is no split {' and no split '.join(missing)}: training needs train and val, of a corpus or a mix.",
        )
    if counts["speech"] and len(counts["splits"]) > 1:
        for kind, disjoint in counts["disjoint"].items():
            if disjoint:
                yield "good", f"No {kind} is in two splits."
            else:
                yield "problem", f"Some {kind}s are in several splits: results on them are not held out by {kind}."
    for name, one, many in (
        ("speech_alone", "piece of speech has no motion", "pieces of speech have no motion"),
        ("motion_alone", "motion has no speech", "motions have no speech"),
    ):
        if counts[name]:
            yield "note", f"{counted(counts[name], one, many)}."


def _emotions(balance: dict[str, Any]) -> Iterator[Finding]:
    for table, what in (("label_by_split", "labels of speech"), ("acted_by_split", "acted emotions")):
        totals = {name: sum(row.values()) for name, row in balance[table].items() if name != "unknown"}
        if not totals:
            continue
        even = sum(totals.values()) / 8
        rare = [f"{name} ({count})" for name, count in totals.items() if 0 < count < FEWEST_SHARE * even]
        absent = 8 - sum(count > 0 for count in totals.values())
        if rare or absent:
            missing = f"{absent} of 8 emotions are absent" if absent else ""
            few = f"rare: {', '.join(rare)}" if rare else ""
            yield "note", f"The {what} are uneven; {'; '.join(filter(None, (missing, few)))}."
        else:
            yield "good", f"All eight emotions have at least half an even share of the {what}."


def _channels(channels: dict[str, Any]) -> Iterator[Finding]:
    if not channels:
        return
    dead = [name for name, one in channels.items() if one["dead"] and not one["idle_group"]]
    idle = [name for name, one in channels.items() if one["dead"] and one["idle_group"]]
    outside = [
        f"{n} ({c['least']:.3f}..{c['most']:.3f})" for n, c in channels.items() if c["least"] < 0 or c["most"] > 1
    ]
    stuck = [f"{n} ({c['saturated']:.0%})" for n, c in channels.items() if c["saturated"] > SATURATED_SHARE]
    if dead:
        yield "note", f"{len(dead)} channels never move: {', '.join(dead)}."
    if idle:
        yield "note", f"{len(idle)} of the blink and gaze channels never move."
    if not dead and not idle:
        yield "good", "Every channel moves."
    if outside and "jawOpen" in channels:  # angles of other rigs have no such range
        yield "problem", f"Values outside 0..1: {', '.join(outside)}."
    if stuck:
        yield "note", f"At the limit for more than {SATURATED_SHARE:.0%} of the frames: {', '.join(stuck)}."


def _lag(lag: dict[str, Any]) -> Iterator[Finding]:
    if not lag:
        return
    if not lag["clear"]:
        yield "note", "In no clip does the jaw follow the level of the sound clearly enough to tell a lag."
        return
    median, share = lag["median_frames"], lag["clear"] / lag["clips"]
    lag_text = f"{median:+g} frames" if median else "0 frames"
    text = f"Jaw and level: the median lag of {counted(lag['clear'], 'clear clip')} ({share:.0%}) is {lag_text}"
    if abs(median) > LARGEST_LAG_FRAMES:
        yield "problem", f"{text}: sound and motion are shifted against each other."
    else:
        yield "good", f"{text}."
    if lag["outlier_count"]:
        others = counted(lag["outlier_count"], "clip")
        yield "note", f"The lag of {others} is more than {OUTLYING_FRAMES} frames from that; look at them."


def _closures(closures: dict[str, Any]) -> Iterator[Finding]:
    if not closures:
        return
    low, high = closures["bounds_millimetres"]
    share = f"{closures['closed_share']:.1%} of {counted(closures['count'], 'closure')} (/p b m/)"
    text = f"{share} reach a lip gap of {low:+g} to {high:+g} mm"
    yield ("good" if closures["closed_share"] >= LEAST_CLOSED_SHARE else "problem"), f"{text}."


def _sound(sound: dict[str, Any]) -> Iterator[Finding]:
    if not sound:
        return
    if sound["clipped_count"]:
        yield "note", f"Clipped at full scale: {sound['clipped_count']} of {counted(sound['clips'], 'clip')}."
    else:
        yield "good", "No clip is clipped."


def _origin(values: dict[str, Any]) -> Iterator[Finding]:
    report = values["import"]
    refused = sum(report.get("refused", {}).values())
    if refused:
        yield "note", f"Refused when it was imported: {counted(refused, 'recording')}; import.json says why."
    for warning in report.get("warnings", ()):
        yield "problem", f"The import warned: {warning}"
    known = values["entropy"].get("known")
    if known and not known["same_version"]:
        yield "note", f"Made by performer {known['version']}; the entropies here are those of the one installed now."
