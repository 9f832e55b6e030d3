"""Reading the checkpoints that the authors of DEEPTalk released."""

from deeptalk.checkpoints.importing import Imported, import_checkpoints
from deeptalk.checkpoints.reading import read_weights

__all__ = ["Imported", "import_checkpoints", "read_weights"]
