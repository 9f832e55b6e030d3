"""The 52 ARKit channels: names, order and groups.

The order is alphabetical, as EmoTalk stores its coefficients; the names are Apple's. Other tools use other orders
(Live Link Face puts JawForward, JawRight, JawLeft in a row), so maps between files go by name, never by index.
"""

CHANNELS: tuple[str, ...] = (
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
)
"""Channel names in the order of the columns of an `arkit` motion."""

BLINK_AND_GAZE: tuple[str, ...] = tuple(name for name in CHANNELS if name.startswith(("eyeBlink", "eyeLook")))
"""The 10 channels of blinks and gaze, which speech hardly determines."""


def pascal_case(channel: str) -> str:
    """Spell a channel as Live Link Face does: `jawOpen` becomes `JawOpen`."""
    return channel[:1].upper() + channel[1:]


def mirrored_channel(channel: str) -> str:
    """Name of the channel's left-right twin; a channel without a side is its own twin."""
    if channel.endswith("Left"):
        return channel.removesuffix("Left") + "Right"
    if channel.endswith("Right"):
        return channel.removesuffix("Right") + "Left"
    return channel
