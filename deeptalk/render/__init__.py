"""Pictures without a screen: frames of a motion, stills, contact sheets, error maps with their legend."""

from deeptalk.render.frames import iterate_frames, render_frames
from deeptalk.render.sheet import contact_sheet, with_colour_bar, write_png

__all__ = ["contact_sheet", "iterate_frames", "render_frames", "with_colour_bar", "write_png"]
