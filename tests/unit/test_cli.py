"""How the command leaves: usage, interruptions, closed pipes. What the commands do is tested end to end."""

import os
import subprocess
import sys

import pytest

from deeptalk import cli

STARTED = """
import os, signal, sys, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
work = types.ModuleType("deeptalk.commands")
work.build_corpus_folder = lambda *words: {work}
sys.modules["deeptalk.commands"] = work
sys.argv = ["deeptalk", "corpus", "build", "--out", "nowhere"]
from deeptalk.cli import main
main()
"""


def started(work, stdout=subprocess.PIPE):
    """Run `deeptalk corpus build` in a process whose work is this expression."""
    command = [sys.executable, "-c", STARTED.replace("{work}", work)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60)


def test_an_interruption_says_so_and_exits_130():
    ended = started("os.kill(os.getpid(), signal.SIGINT)")
    assert ended.returncode == 130
    assert ended.stderr.splitlines() == ["error: Stopped. Finished work is kept; run the same command again to go on."]


def test_a_closed_pipe_is_silent_and_exits_141():
    reading, writing = os.pipe()
    os.close(reading)
    ended = started("types.SimpleNamespace(speech=[], performances=[])", stdout=writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--help"], 0, "Usage: deeptalk"),
        (["train", "--help"], 0, "Usage: deeptalk train"),
        ([], 2, "Usage: deeptalk"),
        (["corpus"], 2, "Usage: deeptalk corpus"),
        (["smaple"], 2, "Did you mean 'sample'?"),
        (["train", "dee", "--out", "runs"], 2, "Missing option '--corpus'"),
        (["demo", "--seed", "-1"], 2, "Invalid value for '--seed'"),
        (["demo", "--wav", "missing.wav", "--out", "nowhere"], 2, "missing.wav does not exist"),
    ],
)
def test_usage(monkeypatch, capsys, tmp_path, words, code, expected):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["deeptalk", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == code
    captured = capsys.readouterr()
    assert expected in captured.out + captured.err
    assert list(tmp_path.iterdir()) == []
