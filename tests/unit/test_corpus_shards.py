"""Builds by any number of processes, killed and gone on with: always the same bytes."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from filelock import FileLock
from shard_worker import make_or_die

from deeptalk.corpus import Corpus, CorpusConfig
from deeptalk.corpus import build as build_module
from deeptalk.corpus.build import build_corpus
from deeptalk.corpus.performer import Performer
from deeptalk.corpus.shards import ShardFolder
from deeptalk.errors import UserError

CONFIG = CorpusConfig(max_clips_per_split=8, train_performances=2, val_performances=1, reference_draws=2)
SHARDS = 6
"""24 clips, four in a shard."""


class Counting:
    """The built-in performer, which counts the clips it performs, and can stop at one."""

    def __init__(self, stop_at: int = -1, error: BaseException | None = None):
        self.own, self.clips, self.stop_at, self.error = Performer.variant("standard"), 0, stop_at, error

    @property
    def version(self):
        return self.own.version

    def performances(self, event, k, given="speech", seed=0, like=None):
        if given == "speech":
            if self.clips == self.stop_at:
                raise self.error
            self.clips += 1
        return self.own.performances(event, k, given, seed, like)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(build_module, "SHARD_CLIPS", 4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, "SHARD_CLIPS", 4)
        return build_corpus(tmp_path_factory.mktemp("whole") / "corpus", CONFIG).folder


def same_bytes(one: Path, two: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in two.iterdir()) != []
    return all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def stopped(out, at, error):
    """A build that an error stops at one clip; returns its hidden folder."""
    with pytest.raises(type(error)):
        build_corpus(out, CONFIG, performer=Counting(at, error))
    return out.with_name(f".{out.name}-build")


def test_shards_of_any_size_make_the_same_corpus(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "SHARD_CLIPS", 100)
    assert same_bytes(build_corpus(tmp_path / "one", CONFIG).folder, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


SCRIPT = """
    import sys, time
    from deeptalk.corpus import build
    from deeptalk.corpus.performer import Performer

    build.SHARD_CLIPS = 4

    class Slow:
        def __init__(self):
            self.own = Performer.variant("standard")

        @property
        def version(self):
            return self.own.version

        def performances(self, *arguments, **keywords):
            time.sleep(float(sys.argv[2]))
            return self.own.performances(*arguments, **keywords)

    if __name__ == "__main__":
        config = build.CorpusConfig(
            max_clips_per_split=8, train_performances=2, val_performances=1, reference_draws=2
        )
        build.build_corpus(sys.argv[1], config, workers=2, performer=Slow())
"""


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the worker processes")
def test_killed_in_the_middle_and_run_again(whole, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    out = tmp_path / "corpus"
    process = subprocess.Popen(
        [sys.executable, script, out, "0.1"], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    hidden = tmp_path / ".corpus-build"
    until(lambda: len(list(hidden.glob("shard-*"))) >= 2 or process.poll() is not None)
    workers = [pid for pid in children(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(workers) == 2
    until(lambda: not any(map(alive, workers)))
    assert not out.exists()
    finished = sorted(path.name for path in hidden.glob("shard-*"))
    assert 2 <= len(finished) < SHARDS
    times = {name: (hidden / name / "motion.npy").stat().st_mtime_ns for name in finished}

    with pytest.raises(KeyboardInterrupt):
        build_corpus(out, CONFIG, performer=Counting(0, KeyboardInterrupt()))  # stopped at the first clip it performs
    assert {name: (hidden / name / "motion.npy").stat().st_mtime_ns for name in finished} == times
    rest = Counting()
    build_corpus(out, CONFIG, performer=rest)
    assert rest.clips == 4 * (SHARDS - len(finished))  # the others are what the two killed processes made
    assert same_bytes(out, whole)
    assert not hidden.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_what_stops_a_build_leaves_finished_shards(whole, tmp_path, error):
    hidden = stopped(tmp_path / "c", 9, error)
    assert len(list(hidden.glob("shard-*"))) == 2
    assert not list(hidden.glob(".shard-*"))
    rest = Counting()
    build_corpus(tmp_path / "c", CONFIG, performer=rest)
    assert rest.clips == 24 - 8
    assert same_bytes(tmp_path / "c", whole)


def test_an_error_names_the_clip(whole, tmp_path):
    name = Corpus.open(whole).speech[9].speech_id
    with pytest.raises(UserError, match=f"^Clip {name}: no such thing"):
        build_corpus(tmp_path / "c", CONFIG, performer=Counting(9, UserError("no such thing.")))
    with pytest.raises(RuntimeError) as caught:
        build_corpus(tmp_path / "d", CONFIG, performer=Counting(9, RuntimeError("a bug")))
    assert caught.value.__notes__ == [f"while making the clip {name}"]


def test_shards_of_other_settings_are_not_used(whole, tmp_path):
    hidden = stopped(tmp_path / "c", 9, RuntimeError("a bug"))
    other = dataclasses.replace(CONFIG, seed=8)
    with pytest.raises(UserError, match=r"2 finished shards .* other settings \(config.seed was 7 and is 8\)"):
        build_corpus(tmp_path / "c", other)
    assert len(list(hidden.glob("shard-*"))) == 2
    build_corpus(tmp_path / "c", other, overwrite=True)
    assert not same_bytes(tmp_path / "c", whole)
    assert not hidden.exists()


def test_a_half_made_shard_is_made_again(whole, tmp_path):
    hidden = stopped(tmp_path / "c", 9, RuntimeError("a bug"))
    (hidden / ".shard-00002-abc").mkdir()
    (hidden / ".shard-00002-abc" / "motion.npy").write_bytes(b"half")
    (hidden / "whole").mkdir()
    build_corpus(tmp_path / "c", CONFIG)
    assert same_bytes(tmp_path / "c", whole)


def test_one_build_at_a_time(tmp_path):
    hidden = tmp_path / ".c-build"
    hidden.mkdir()
    with FileLock(hidden / "lock"), pytest.raises(UserError, match="Another process is building"):
        build_corpus(tmp_path / "c", CONFIG)


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        ("die", UserError, "worker process ended with code -9: killed, or out of memory"),
        ("refuse", UserError, "^Clip x: refused.$"),
        ("bug", RuntimeError, "ValueError: a bug"),
    ],
)
def test_a_worker_that_fails_ends_the_others(tmp_path, task, error, message):
    tasks = ["fine", "fine", task, "fine"]
    steps = []
    with pytest.raises(error, match=message), ShardFolder(tmp_path / "c", tasks, {"a": 1}, False) as shards:
        shards.make(make_or_die, 2, steps.append)
    assert set(shards.finished()) <= {0, 1, 3}
    assert len(steps) <= 3
