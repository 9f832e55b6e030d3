"""One self-contained web page: takes of a piece of speech playing side by side on the head, with sound, curves, tables.

Everything (three.js, the head, motion, sound) is inside the file, so it works offline from disk.
"""

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jaxtyping import Float

from deeptalk.errors import UserError
from deeptalk.export.formats import Exportable, check_motion
from deeptalk.face import LinearRig, load_rig
from deeptalk.face.appearance import drawing_mesh
from deeptalk.files import write_text

SAMPLE_RATE = 16_000
ASSETS = Path(__file__).parent / "assets"
QUANTISATION_METRES = 2e-6
"""Step of the displacements stored in the page."""


@dataclass(frozen=True)
class PageScene:
    """One piece of speech with the takes that play beside each other."""

    title: str
    samples: Float[np.ndarray, "sample"]
    """Mono sound."""
    sample_rate: int
    frame_rate: float
    takes: Sequence[tuple[str, Float[np.ndarray, "frame channel"]]]
    """Label and motion of each; all of one length."""
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


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _head_data(rig: LinearRig) -> dict[str, Any]:
    mesh = drawing_mesh(rig)
    channels = []
    for name, delta in zip(rig.channels, rig.deltas):
        steps = np.round(delta / QUANTISATION_METRES)
        if np.abs(steps).max() > np.iinfo(np.int16).max:
            raise UserError(f"Channel {name} of rig {rig.name} moves over 65 mm, more than a page can hold.")
        index = np.flatnonzero(np.any(steps != 0, axis=1))
        channels.append(
            {
                "name": name,
                "index": _base64(index.astype(np.uint16)),
                "delta": _base64(steps[index].astype(np.int16)),
                "scale": QUANTISATION_METRES,
            }
        )
    face = rig.neutral[rig.regions["face"]]
    centre = (face.min(axis=0) + face.max(axis=0)) / 2
    height = float(np.ptp(face[:, 1]))
    return {
        "neutral": _base64(rig.neutral.astype(np.float32)),
        "faces": _base64(rig.faces.astype(np.uint16)),
        "drawn_faces": _base64(mesh.faces.astype(np.uint16)),
        "parents": _base64(mesh.parents.astype(np.uint16)),
        "bulge": _base64(mesh.bulge),
        "colours": _base64(mesh.colours),
        "channels": channels,
        "mouth_opening_mm": (1000 * rig.lip_gap_deltas.mean(axis=1)).round(4).tolist(),
        "camera": {
            "target": (centre + [0, -0.02 * height, -0.2 * height]).tolist(),
            "position": (centre + [0.2 * height, 0.03 * height, 3.6 * height]).tolist(),
        },
    }


def _scene_data(scene: PageScene, rig: LinearRig) -> dict[str, Any]:
    frames = {len(motion) for _, motion in scene.takes}
    if len(frames) != 1 or 0 in frames:
        raise UserError(f"Takes of {scene.title!r} have {sorted(frames)} frames; expected one length above 0.")
    for label, motion in scene.takes:
        if motion.shape[1] != len(rig.channels) or not np.isfinite(motion).all():
            raise UserError(
                f"Take {label!r} is not a finite motion of {len(rig.channels)} channels but {motion.shape}."
            )
    sound = io.BytesIO()
    soundfile.write(sound, scene.samples, scene.sample_rate, format="WAV", subtype="PCM_16")
    return {
        "title": scene.title,
        "note": scene.note,
        "frame_rate": scene.frame_rate,
        "frames": frames.pop(),
        "audio": "data:audio/wav;base64," + base64.b64encode(sound.getvalue()).decode("ascii"),
        "takes": [{"label": label, "motion": _base64(motion.astype(np.float32))} for label, motion in scene.takes],
    }


def _table_html(table: PageTable) -> str:
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in table.header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in table.rows)
    return (
        f'<section><h2>{html.escape(table.title)}</h2><div class="table"><table><thead><tr>{head}</tr></thead>'
        f'<tbody>{body}</tbody></table></div><p class="small">{html.escape(table.note)}</p></section>'
    )


def write_take_page(take: Exportable, path: Path) -> None:
    """Write a page that plays one take; a take without sound plays silently."""
    check_motion(take.motion, "The motion to save")
    silence = np.zeros(round(len(take.motion) / take.frame_rate * SAMPLE_RATE), np.float32)
    samples = silence if take.samples is None else take.samples
    scene = PageScene(path.stem, samples, SAMPLE_RATE, take.frame_rate, [("take", take.motion)])
    write_page(path, Page(path.stem, "", [scene]), load_rig(take.rig))


def write_page(path: str | Path, page: Page, rig: LinearRig) -> None:
    """Write the page atomically.

    Raises UserError for takes of unequal length, another channel count or values that are not finite.
    """
    if not page.scenes or any(not scene.takes for scene in page.scenes):
        raise UserError("A page needs at least one piece of speech with at least one take.")
    data = {"head": _head_data(rig), "scenes": [_scene_data(scene, rig) for scene in page.scenes]}
    parts = {
        "title": html.escape(page.title),
        "intro": f"<p>{html.escape(page.intro)}</p>",
        "sections": "".join(_table_html(table) for table in page.tables),
        "style": (ASSETS / "viewer.css").read_text(encoding="utf-8"),
        "viewer": (ASSETS / "viewer.js").read_text(encoding="utf-8"),
        "three": (ASSETS / "three.min.js").read_text(encoding="utf-8"),
        # "</script" would end the script element, "<!--<script" keep it open; the escaped form means the same in JSON.
        "data": json.dumps(data).replace("<", "\\u003c"),
    }
    template = (ASSETS / "viewer.html").read_text(encoding="utf-8")
    pieces = template.split("{{")
    text = pieces[0]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        text += parts[name] + rest
    write_text(path, text)
