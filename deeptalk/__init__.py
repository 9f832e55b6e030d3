"""DEEPTalk: from speech alone, emotionally alive 3D facial animation that differs on every take.

    import deeptalk
    talker = deeptalk.load()
    takes = talker.perform("speech.wav", takes=4, seed=7)

Everything is imported on first use, so that `import deeptalk` stays fast.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Take", "Talker", "UserError", "load"]

if TYPE_CHECKING:
    from deeptalk.errors import UserError
    from deeptalk.pipeline import Talker, load
    from deeptalk.take import Take

_HOMES = {
    "Take": "deeptalk.take",
    "Talker": "deeptalk.pipeline",
    "UserError": "deeptalk.errors",
    "load": "deeptalk.pipeline",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'deeptalk' has no attribute {name!r}")
