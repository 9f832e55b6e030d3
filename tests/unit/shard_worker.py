"""What the worker processes of test_corpus_shards.py run: in a module of its own, which loads at once."""

import os
import signal

from deeptalk.errors import UserError


def make_or_die(task, folder, step):
    """Makes a folder, fails or dies, as the task says."""
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "refuse":
        raise UserError("Clip x: refused.")
    if task == "bug":
        raise ValueError("a bug")
    folder.mkdir()
    step(1.0)
    return {"work": 1.0}
