"""Faces: channel names, rigs that turn motion into vertices, regions, and compact vertex distances."""

from deeptalk.face.channels import BLINK_AND_GAZE, CHANNELS, mirrored_channel, pascal_case
from deeptalk.face.compact import CompactVertices, VertexCoordinates, compact_vertices
from deeptalk.face.flame import FlameRig
from deeptalk.face.flame_file import convert_flame
from deeptalk.face.load import channels_of, load_rig
from deeptalk.face.mesh import vertex_normals, weld_map
from deeptalk.face.rig import LinearRig, Rig, check_motion

__all__ = [
    "BLINK_AND_GAZE",
    "CHANNELS",
    "CompactVertices",
    "FlameRig",
    "LinearRig",
    "Rig",
    "VertexCoordinates",
    "channels_of",
    "check_motion",
    "compact_vertices",
    "convert_flame",
    "load_rig",
    "mirrored_channel",
    "pascal_case",
    "vertex_normals",
    "weld_map",
]
