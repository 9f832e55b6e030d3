"""One self-contained web page: takes of a piece of speech playing side by side on the head, with sound, curves, tables.

Everything (three.js, the head, motion, sound) is inside the file, so it works offline from disk.
"""

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from deeptalk.errors import UserError
from deeptalk.export.formats import Exportable, check_motion, check_sound
from deeptalk.export.page_head import head_data, pack, pack_motion
from deeptalk.export.wav import wav_bytes
from deeptalk.face import CHANNELS, Rig, load_rig
from deeptalk.face.idle import BLINK_AND_GAZE_COLUMNS, SAMPLE_RATE, idle_life, with_idle
from deeptalk.files import write_text

ASSETS = Path(__file__).parent / "assets"
IDLE_SEED = 0
"""Of the blinks, gaze and head motion that the page can show on takes that have none; take i has seed + i."""

LEAST_LIFE = 0.05
"""A take whose blinks and gaze all stay below this has none: a model that never saw any leaves a little behind."""


@dataclass(frozen=True)
class PageTake:
    """One performance on a page."""

    label: str
    motion: Float[np.ndarray, "frame channel"]
    head_rotation_radians: Float[np.ndarray, "frame 3"] | None = None


@dataclass(frozen=True)
class PageScene:
    """One piece of speech with the takes that play beside each other."""

    title: str
    samples: Float[np.ndarray, "sample"]
    """Mono sound."""
    sample_rate: int
    frame_rate: float
    takes: Sequence[PageTake | tuple[str, np.ndarray]]
    """All of one length; a pair is label and motion."""
    note: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table with a heading and a note under it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Page:
    """What a page shows, from top to bottom."""

    title: str
    intro: str
    scenes: Sequence[PageScene]
    tables: Sequence[PageTable] = field(default_factory=tuple)


def write_take_page(take: Exportable, path: Path, head: Rig | None = None) -> None:
    """Write a page that plays one take; a take without sound plays silently."""
    check_motion(take.motion, "The motion to save")
    silence = np.zeros(round(len(take.motion) / take.frame_rate * SAMPLE_RATE), np.float32)
    samples = silence if take.samples is None else take.samples
    one = PageTake("take", take.motion, take.head_rotation_radians)
    told = ", ".join(f"{name}: {value}" for name, value in take.recipe.items() if isinstance(value, str | int | float))
    scene = PageScene(path.stem, samples, SAMPLE_RATE, take.frame_rate, [one], told)
    write_page(path, Page(path.stem, "", [scene]), load_rig(take.rig) if head is None else head)


def write_page(path: str | Path, page: Page, rig: Rig) -> None:
    """Write the page atomically.

    Raises UserError for takes of unequal length, another channel count or values that are not finite.
    """
    if not page.scenes or any(not scene.takes for scene in page.scenes):
        raise UserError("A page needs at least one piece of speech with at least one take.")
    scenes = [[_take(take) for take in scene.takes] for scene in page.scenes]
    for scene, takes in zip(page.scenes, scenes):
        _check_takes(scene, takes, rig)
    # A motion with the group of blinks and gaze taken out, and that group: the page shows them with or without.
    parts = [_split_life(scene, takes, rig) for scene, takes in zip(page.scenes, scenes)]
    head, weights = head_data(rig, [still for scene in parts for still, _ in scene])
    drawn = iter(weights)
    data = {
        "head": head,
        "scenes": [
            _scene_data(scene, takes, split, drawn, rig) for scene, takes, split in zip(page.scenes, scenes, parts)
        ],
    }
    contents = {
        "title": html.escape(page.title),
        "intro": f"<p>{html.escape(page.intro)}</p>" if page.intro else "",
        "sections": "".join(_table_html(table) for table in page.tables),
        "style": _asset("viewer.css"),
        "viewer": "\n".join(_asset(name) for name in ("viewer_head.js", "viewer_plots.js", "viewer.js")),
        "three": _asset("three.min.js"),
        # "</script" would end the script element, "<!--<script" keep it open; the escaped form means the same in JSON.
        "data": json.dumps(data).replace("<", "\\u003c"),
    }
    text, *pieces = _asset("viewer.html").split("{{")
    for piece in pieces:
        name, rest = piece.split("}}", 1)
        text += contents[name] + rest
    write_text(path, text)


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _take(take: PageTake | tuple[str, np.ndarray]) -> PageTake:
    return take if isinstance(take, PageTake) else PageTake(*take)


def _check_takes(scene: PageScene, takes: Sequence[PageTake], rig: Rig) -> None:
    check_sound(scene.samples)
    frames = {len(take.motion) for take in takes}
    if len(frames) != 1 or 0 in frames:
        raise UserError(f"Takes of {scene.title!r} have {sorted(frames)} frames; expected one length above 0.")
    for take in takes:
        if take.motion.shape[1] != len(rig.channels) or not np.isfinite(take.motion).all():
            raise UserError(
                f"Take {take.label!r} is not a finite motion of {len(rig.channels)} channels but {take.motion.shape}."
            )


def _split_life(
    scene: PageScene, takes: Sequence[PageTake], rig: Rig
) -> list[tuple[np.ndarray, dict[str, Any] | None]]:
    """Each take without its blinks, gaze and head motion, and these: its own, or idle life where it has none."""
    split: list[tuple[np.ndarray, dict[str, Any] | None]] = []
    for number, take in enumerate(takes):
        turn = take.head_rotation_radians
        if tuple(rig.channels) != CHANNELS:
            split.append((take.motion, None if turn is None else _life(None, turn)))
            continue
        alive = take.motion
        if turn is None and take.motion[:, BLINK_AND_GAZE_COLUMNS].max() < LEAST_LIFE:
            idle = idle_life(len(take.motion), scene.frame_rate, IDLE_SEED + number, _heard(scene, len(take.motion)))
            alive, turn = with_idle(take.motion, idle.motion, rig), idle.head_rotation_radians
        still = take.motion.copy()
        still[:, BLINK_AND_GAZE_COLUMNS] = 0.0
        split.append((still, _life(alive[:, BLINK_AND_GAZE_COLUMNS], turn)))
    return split


def _heard(scene: PageScene, frames: int) -> np.ndarray | None:
    """The sound at 16 kHz, where it is, and as long as the motion."""
    fits = abs(len(scene.samples) / SAMPLE_RATE * scene.frame_rate - frames) <= 1.0
    return scene.samples if scene.sample_rate == SAMPLE_RATE and fits else None


def _life(group: np.ndarray | None, turn: np.ndarray | None) -> dict[str, Any]:
    return {
        "columns": [] if group is None else BLINK_AND_GAZE_COLUMNS,
        "motion": None if group is None else pack_motion(group),
        "turn": None if turn is None else pack(turn.astype(np.float32)),
    }


def _scene_data(
    scene: PageScene,
    takes: Sequence[PageTake],
    split: list[tuple[np.ndarray, dict[str, Any] | None]],
    drawn: Any,
    rig: Rig,
) -> dict[str, Any]:
    sound = wav_bytes(scene.samples, scene.sample_rate)
    entries = []
    for take, (still, life) in zip(takes, split):
        with torch.inference_mode():
            opening = rig.mouth_opening(torch.tensor(take.motion, dtype=torch.float32)).numpy()
        weights = next(drawn)
        entries.append(
            {
                "label": take.label,
                "motion": pack_motion(still),
                "weights": None if weights is None else pack_motion(weights),
                "mouth_opening_mm": pack((1000 * opening).astype(np.float32)),
                "life": life,
            }
        )
    return {
        "title": scene.title,
        "note": scene.note,
        "frame_rate": scene.frame_rate,
        "frames": len(takes[0].motion),
        "audio": "data:audio/wav;base64," + base64.b64encode(sound).decode("ascii"),
        "takes": entries,
    }


def _table_html(table: PageTable) -> str:
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in table.header)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    return (
        f'<section><h2>{html.escape(table.title)}</h2><div class="table" tabindex="0" role="region" '
        f'aria-label="{html.escape(table.title)}"><table><thead><tr>{head}</tr></thead>'
        f'<tbody>{body}</tbody></table></div><p class="small">{html.escape(table.note)}</p></section>'
    )
