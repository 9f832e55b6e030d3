"""The whole chain, run once a test session, and the command."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import soundfile
from smallest_chain import SEED, WORDS, Chain, Outcome, command, speech_like

from deeptalk import cli
from deeptalk.demo import run_demo


@pytest.fixture(scope="session")
def chain(tmp_path_factory, worker_id) -> Chain:
    """The chain's results; with several pytest workers the first one runs it and the others wait."""
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "chain"
    root.mkdir(exist_ok=True)
    made = Chain(root / "demo", root / "cache", root / "my voice.wav")
    with open(root / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "seconds").exists():
            soundfile.write(made.recording, speech_like(1.3), 16000)
            started = time.perf_counter()
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("XDG_CACHE_HOME", str(made.cache))
                assert run_demo(made.out, made.recording, "tiny", SEED, WORDS) == made.page
            (root / "seconds").write_text(f"{time.perf_counter() - started:.1f}")
    return made


@pytest.fixture
def deeptalk(monkeypatch, capsys) -> Callable[..., Outcome]:
    """The `deeptalk` command inside this process, as starting Python again costs seconds."""

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["deeptalk", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main()
        captured = capsys.readouterr()
        return Outcome(int(left.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def deeptalk_process() -> Callable[..., Outcome]:
    """The `deeptalk` command in a process of its own."""

    def run(*words: object) -> Outcome:
        ended = subprocess.run(command(*words), capture_output=True, text=True, timeout=120, env=dict(os.environ))
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    return run
