"""Encoder features of a corpus, computed once and read from disk ever after."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Float32
from rich.console import Console
from rich.progress import Progress

from deeptalk.corpus.format import Corpus
from deeptalk.corpus.shards import ShardFolder
from deeptalk.errors import UserError
from deeptalk.files import atomic_folder, read_json, write_json
from deeptalk.speech import SpeechEncoder, frame_count, pad_waveforms

VERSION = 1
ARRAY, META = "features.npy", "features.json"
SHARD_SECONDS = 600.0
"""Speech after which what was encoded is kept, even if the computation is stopped."""


class FeatureStore:
    """Features of every piece of speech of one corpus by one encoder, memory-mapped.

    Made by `FeatureStore.build`; `feature_size` columns at the corpus's frame rate.
    """

    def __init__(self, corpus: Corpus, folder: Path):
        self.corpus = corpus
        self.folder = folder
        self.meta = read_json(folder / META)
        self.feature_size: int = self.meta["feature_size"]
        self._lengths = _frame_lengths(corpus)
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)])
        self._check(corpus)

    def _check(self, corpus: Corpus) -> None:
        remedy = f"Delete {self.folder}; it is computed again."
        if self.meta["version"] != VERSION or self.meta["corpus_hash"] != corpus.hash:
            raise UserError(f"The features in {self.folder} belong to another corpus or version. {remedy}")
        try:
            self._features = np.load(self.folder / ARRAY, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.folder / ARRAY} cannot be read ({error}). {remedy}") from error
        expected = (int(self._starts[-1]), self.feature_size)
        if self._features.shape != expected or self._features.dtype != self.meta["storage"]:
            raise UserError(f"{self.folder / ARRAY} holds {self._features.shape}, expected {expected}. {remedy}")

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureStore, (self.corpus, self.folder)

    def get(self, speech: int, part: slice = slice(None)) -> Float32[np.ndarray, "frame feature"]:
        """Features of one piece of speech, or of a `part` of its frames, float32, a copy."""
        return self._features[self._starts[speech] : self._starts[speech + 1]][part].astype(np.float32)

    def frames(self, speech: int) -> int:
        """Frames of one piece of speech."""
        return int(self._lengths[speech])

    @classmethod
    def build(
        cls,
        corpus: Corpus,
        encoder: SpeechEncoder,
        *,
        storage: Literal["float16", "float32"] = "float16",
        cache_folder: str | Path | None = None,
        batch_seconds: float = 60.0,
        workers: int = 1,
        progress: bool = False,
    ) -> "FeatureStore":
        """Open the features of a corpus by an encoder, computing them first where they are not there yet.

        A computation that was stopped goes on where it was; of several processes that want the same features one
        computes them and the others wait.

        Args:
            corpus: all its speech is encoded, on the device the encoder is on; of a mix, each part for itself.
            encoder: its `cache_key` names the folder, so another encoder or other weights never meet old features.
            storage: number format on disk; features are float32 in memory.
            cache_folder: where to keep them; None keeps them inside the corpus, under `features/`.
            batch_seconds: padded seconds of speech in one batch of the encoder.
            workers: processes, for an encoder on the CPU; 1 computes here. Rounding may differ between the two.
            progress: show a progress bar.

        Raises UserError where the encoder's frame rate is not the corpus's, or nothing can be written.
        """
        if encoder.frame_rate != corpus.frame_rate:
            raise UserError(
                f"The encoder gives {encoder.frame_rate} frames a second and the corpus {corpus.name} has "
                f"{corpus.frame_rate}; build the encoder with frame_rate={corpus.frame_rate}."
            )
        stores = []
        for part in corpus.parts:
            home = part.folder / "features" if cache_folder is None else Path(cache_folder) / part.hash[:16]
            folder = home / f"{encoder.cache_key()}-{storage}"
            if not (folder / META).is_file():
                with _alone(folder):
                    if not (folder / META).is_file():
                        _compute(part, encoder, folder, storage, batch_seconds, workers, progress)
            stores.append(FeatureStore(part, folder))
        return stores[0] if len(stores) == 1 else MixedFeatures(corpus, stores)


class MixedFeatures(FeatureStore):
    """Features of a mix of corpora: those of its parts, one after the other."""

    def __init__(self, corpus: Corpus, stores: Sequence[FeatureStore]):
        self.corpus, self.stores = corpus, tuple(stores)
        self.feature_size = stores[0].feature_size
        self._ends = np.cumsum([len(store.corpus.speech) for store in stores])

    def __reduce__(self) -> tuple[Any, ...]:
        return MixedFeatures, (self.corpus, self.stores)

    def get(self, speech: int, part: slice = slice(None)) -> Float32[np.ndarray, "frame feature"]:
        """Features of one piece of speech, or of a `part` of its frames, float32, a copy."""
        store, own = self._locate(speech)
        return store.get(own, part)

    def frames(self, speech: int) -> int:
        """Frames of one piece of speech."""
        store, own = self._locate(speech)
        return store.frames(own)

    def _locate(self, speech: int) -> tuple[FeatureStore, int]:
        which = int(np.searchsorted(self._ends, speech, side="right"))
        return self.stores[which], speech - int(self._ends[which - 1] if which else 0)


def _frame_lengths(corpus: Corpus) -> np.ndarray:
    """Frames of each piece of speech: `frame_count` of them all."""
    samples = corpus.speech.numbers("num_samples").astype(np.float64)
    return np.maximum(np.floor(samples * corpus.frame_rate / corpus.sample_rate + 0.5).astype(np.int64), 1)


def _batches(corpus: Corpus, batch_seconds: float) -> Iterator[list[int]]:
    """Indices of similarly long speech, longest first; a padded batch lasts at most `batch_seconds`, or is one."""
    limit = batch_seconds * corpus.sample_rate
    sizes = corpus.speech.numbers("num_samples")
    batch: list[int] = []
    for index in np.argsort(-sizes, kind="stable").tolist():
        if batch and (len(batch) + 1) * sizes[batch[0]] > limit:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _compute(
    corpus: Corpus,
    encoder: SpeechEncoder,
    folder: Path,
    storage: str,
    batch_seconds: float,
    workers: int,
    progress: bool,
) -> None:
    """Encode all speech into `folder`, which appears only when all is done."""
    starts = np.concatenate([[0], np.cumsum(_frame_lengths(corpus))])
    tasks = _tasks(corpus, batch_seconds)
    identity = {"corpus": corpus.hash, "encoder": encoder.cache_key(), "storage": storage, "batch": batch_seconds}
    bar = Progress(*Progress.get_default_columns(), console=Console(stderr=True), disable=not progress)
    with ShardFolder(folder, tasks, identity, overwrite=True) as shards:
        with bar:
            task = bar.add_task(f"features of {len(corpus.speech)} clips ({encoder.name})", total=len(corpus.speech))
            bar.advance(task, sum(len(batch) for index in shards.finished() for batch in tasks[index]))
            make = _MakeFeatures(corpus, encoder, storage)
            shards.make(make, workers, lambda clips: bar.advance(task, clips), own_threads=None)
        with atomic_folder(folder, ARRAY) as temporary:
            shape = (int(starts[-1]), encoder.feature_size)
            array = np.lib.format.open_memmap(temporary / ARRAY, mode="w+", dtype=storage, shape=shape)
            for index, batches in enumerate(tasks):
                rows = np.load(shards.shard(index) / ARRAY, mmap_mode="r", allow_pickle=False)
                first = 0
                for speech in (speech for batch in batches for speech in batch):
                    count = int(starts[speech + 1] - starts[speech])
                    array[starts[speech] : starts[speech + 1]] = rows[first : first + count]
                    first += count
            array.flush()
            del array
            meta = {"version": VERSION, "corpus_hash": corpus.hash, "encoder": encoder.name}
            meta |= {"cache_key": encoder.cache_key(), "feature_size": encoder.feature_size, "storage": storage}
            write_json(temporary / META, meta)


def _tasks(corpus: Corpus, batch_seconds: float) -> list[list[list[int]]]:
    """Batches by shard: each shard holds about `SHARD_SECONDS` of speech."""
    tasks: list[list[list[int]]] = [[]]
    seconds = 0.0
    for batch in _batches(corpus, batch_seconds):
        if seconds > SHARD_SECONDS:
            tasks.append([])
            seconds = 0.0
        tasks[-1].append(batch)
        seconds += sum(corpus.speech[index].num_samples for index in batch) / corpus.sample_rate
    return tasks


@dataclass(frozen=True)
class _MakeFeatures:
    """Encodes some batches and writes their rows one after the other."""

    corpus: Corpus
    encoder: SpeechEncoder
    storage: str

    def __call__(self, task: Sequence[list[int]], folder: Path, step: Callable[[float], None]) -> Mapping[str, float]:
        started = time.perf_counter()
        rows = []
        for batch in task:
            rows += self._encode(batch)
            step(float(len(batch)))
        with atomic_folder(folder, ARRAY) as temporary:
            np.save(temporary / ARRAY, np.concatenate(rows))
        return {"encode": time.perf_counter() - started}

    @torch.no_grad()
    def _encode(self, batch: list[int]) -> list[np.ndarray]:
        """Features of each piece of speech of a batch, as stored."""
        corpus, encoder, storage = self.corpus, self.encoder, self.storage
        device = next((tensor.device for tensor in [*encoder.parameters(), *encoder.buffers()]), torch.device("cpu"))
        waveforms, sample_lengths = pad_waveforms([corpus.waveform(index) for index in batch])
        features, frames = encoder(waveforms.to(device), sample_lengths.to(device))
        rows = []
        for index, row, count in zip(batch, features.cpu().numpy(), frames.tolist()):
            speech = corpus.speech[index]
            expected = frame_count(speech.num_samples, frame_rate=corpus.frame_rate)
            if count != expected:
                raise UserError(
                    f"Encoder {encoder.name} gave {count} frames for {speech.speech_id}, expected {expected}; an "
                    "encoder must give frame_count frames."
                )
            with np.errstate(over="ignore"):
                stored = row[:count].astype(storage)
            if not np.isfinite(stored).all():
                raise UserError(
                    f"Features of {speech.speech_id} by {encoder.name} are not finite as {storage}; use "
                    "storage='float32', or look at that recording."
                )
            rows.append(stored)
        return rows


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the place of some features: another process that wants them waits here until they are there."""
    if not os.access(next(place for place in folder.parents if place.exists()), os.W_OK):
        raise UserError(
            f"Features cannot be written to {folder}: it is read-only. Give a cache folder to keep them in."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    with FileLock(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
