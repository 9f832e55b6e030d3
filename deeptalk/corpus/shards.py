"""Long work in shards: any number of processes makes the same files, and what is finished outlives a kill.

Shards lie in a hidden folder beside the result. A shard is made in a folder of its own name only when it is complete,
so whatever stops the work leaves whole shards, and the next run makes the others.
"""

import contextlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from filelock import FileLock, Timeout
from threadpoolctl import threadpool_limits

from deeptalk.corpus.wording import counted
from deeptalk.errors import UserError
from deeptalk.files import read_json, write_json

log = logging.getLogger(__name__)

Task = TypeVar("Task")
IDENTITY, LOCK = "build.json", "lock"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


MakesShard = Callable[[Any, Path, Callable[[float], None]], Mapping[str, float]]
"""Makes the folder of one shard: (task, folder, step) -> seconds by phase.

The folder does not exist yet; `step(amount)` is to be called after each item. It is sent to the processes, so it can be
pickled.
"""


class ShardFolder(Generic[Task]):
    """Context manager over the hidden folder with the shards of one result, held by one process at a time.

    Args:
        out: where the result will lie; the shards are in `.NAME-build` beside it.
        tasks: one for every shard, in order.
        identity: whatever decides the bytes of the shards; shards of another identity are not used.
        overwrite: delete shards of another identity instead of refusing them.

    Raises UserError where another process is at work there, or shards of another identity are there.
    """

    def __init__(self, out: Path, tasks: Sequence[Task], identity: Mapping[str, Any], overwrite: bool):
        out = Path(os.path.abspath(out))
        self.out, self.tasks, self.overwrite = out, tasks, overwrite
        self.identity = json.loads(json.dumps(identity))
        self.folder = out.with_name(f".{out.name}-build")
        self.seconds: dict[str, float] = {}
        """What `make` told of the shards made in this run, summed by phase."""

    def __enter__(self) -> "ShardFolder[Task]":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / LOCK)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(f"Another process is building {self.out}; wait for it or give another folder.") from error
        except OSError as error:
            raise UserError(
                f"Cannot write {self.folder}: {error.strerror}. Choose a folder you can write to."
            ) from error
        try:
            self._take_over()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if error is None or not self.finished():
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            log.warning(
                "%d of %d shards are finished in %s; the same command goes on from there.",
                len(self.finished()),
                len(self.tasks),
                self.folder,
            )

    def _take_over(self) -> None:
        """Delete what is not a finished shard, and shards of another identity, if that is allowed."""
        path = self.folder / IDENTITY
        if path.exists():
            before = read_json(path)
            change = _first_change(before, self.identity)
            if change and self.finished() and not self.overwrite:
                raise UserError(
                    f"{self.folder} holds {counted(len(self.finished()), 'finished shard')} of a build with other "
                    f"settings ({change}). Give those again to go on with it, overwrite it, or delete that folder."
                )
            if change:
                if self.finished():
                    log.warning("Deleting %d shards of another build (%s).", len(self.finished()), change)
                self._clear(keep=())
        self._clear(keep={LOCK, IDENTITY, *(self.shard(index).name for index in range(len(self.tasks)))})
        write_json(path, self.identity)

    def _clear(self, keep: Any) -> None:
        for path in self.folder.iterdir():
            if path.name not in {LOCK, *keep}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def shard(self, index: int) -> Path:
        """Folder of a shard; it exists once the shard is finished."""
        return self.folder / f"shard-{index:05d}"

    def finished(self) -> list[int]:
        """Shards that are there."""
        return [index for index in range(len(self.tasks)) if self.shard(index).is_dir()]

    def make(self, make: MakesShard, workers: int, step: Callable[[float], None], own_threads: int | None = 1) -> None:
        """Make the shards that are missing, in `workers` processes of one thread, or for 1 in this one.

        This one uses `own_threads` for linear algebra; None is as many as it is set to, and bits may then differ. An
        error in a shard stops the others; what is finished stays. Ctrl-C likewise.
        """
        done = set(self.finished())
        missing = [index for index in range(len(self.tasks)) if index not in done]
        workers = min(workers, len(missing))
        if workers > 1:
            with _one_thread():
                _Crew(make, workers).work([(self.tasks[i], self.shard(i)) for i in missing], step, self._add_seconds)
            return
        with threadpool_limits(own_threads):
            for index in missing:
                self._add_seconds(make(self.tasks[index], self.shard(index), step))

    def _add_seconds(self, seconds: Mapping[str, float]) -> None:
        for phase, value in seconds.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + value


class _Crew:
    """Processes that make shards handed to them one at a time; a lost process is an error, not a wait for ever."""

    def __init__(self, make: MakesShard, workers: int):
        # Not forked: a fork of a process with threads may hang.
        context = multiprocessing.get_context("spawn")
        self.lines: dict[Connection, Any] = {}
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, make), daemon=True)
            process.start()
            theirs.close()
            self.lines[ours] = process

    def work(
        self,
        jobs: Sequence[tuple[Any, Path]],
        step: Callable[[float], None],
        finished: Callable[[Mapping[str, float]], None],
    ) -> None:
        """Hand out all jobs (task, folder) and wait for them; whatever goes wrong ends the processes."""
        waiting = iter(jobs)
        try:
            busy = {line for line in self.lines if _hand(line, next(waiting, None))}
            while busy:
                for line in wait(list(busy)):
                    kind, content = self._receive(line)  # type: ignore[arg-type]
                    if kind == "step":
                        step(content)
                        continue
                    finished(content)
                    if not _hand(line, next(waiting, None)):  # type: ignore[arg-type]
                        busy.discard(line)  # type: ignore[arg-type]
        finally:
            self._end()

    def _receive(self, line: Connection) -> tuple[str, Any]:
        try:
            kind, content = line.recv()
        except (EOFError, ConnectionResetError) as error:
            process = self.lines[line]
            process.join()
            raise UserError(
                f"A worker process ended with code {process.exitcode}: killed, or out of memory. Run the same command "
                "again, with fewer workers if memory is short; what is finished is kept."
            ) from error
        if kind == "refused":
            raise UserError(content)
        if kind == "failed":
            raise RuntimeError(content)
        return kind, content

    def _end(self) -> None:
        for line, process in self.lines.items():
            line.close()
            process.terminate()
        for process in self.lines.values():
            process.join()


def _hand(line: Connection, job: tuple[Any, Path] | None) -> bool:
    if job is not None:
        with contextlib.suppress(BrokenPipeError):  # whoever reads from it next finds its process gone
            line.send(job)
    return job is not None


def _serve(line: Connection, make: MakesShard) -> None:
    """What a process does: make the shards that come, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process ends the others
    _end_with_parent()
    with contextlib.suppress(EOFError), threadpool_limits(1):
        while True:
            task, folder = line.recv()
            try:
                line.send(("done", make(task, folder, lambda amount: line.send(("step", amount)))))
            except UserError as error:
                line.send(("refused", str(error)))
            except Exception:
                line.send(("failed", traceback.format_exc()))


def _end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, however that came about."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that are started now use one thread for linear algebra: more would change bits, and wait."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _first_change(before: Any, now: Any, name: str = "") -> str:
    """The first entry in which two plain structures differ, in words; empty where none does."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*now, *(key for key in before if key not in now)]:
            change = _first_change(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
            if change:
                return change
        return ""
    return "" if before == now else f"{name} was {before!r} and is {now!r}"
