"""Pictures without a screen: frames of a motion, stills, contact sheets, error maps."""

from deeptalk.render.frames import iterate_frames, render_frames
from deeptalk.render.sheet import contact_sheet, write_png

__all__ = ["contact_sheet", "iterate_frames", "render_frames", "write_png"]
