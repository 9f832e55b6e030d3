"""Faces: channel names, rigs that turn motion into vertices, regions, and compact vertex distances."""

from deeptalk.face.arkit import load_rig
from deeptalk.face.channels import BLINK_AND_GAZE, CHANNELS, mirrored_channel, pascal_case
from deeptalk.face.compact import CompactVertices, compact_vertices
from deeptalk.face.mesh import vertex_normals, weld_map
from deeptalk.face.rig import LinearRig, Rig, check_motion

__all__ = [
    "BLINK_AND_GAZE",
    "CHANNELS",
    "CompactVertices",
    "LinearRig",
    "Rig",
    "check_motion",
    "compact_vertices",
    "load_rig",
    "mirrored_channel",
    "pascal_case",
    "vertex_normals",
    "weld_map",
]
