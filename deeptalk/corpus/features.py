"""Encoder features of a corpus, computed once and read from disk ever after."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32
from rich.console import Console
from rich.progress import track

from deeptalk.corpus.format import Corpus
from deeptalk.errors import UserError
from deeptalk.files import atomic_folder, read_json, write_json
from deeptalk.speech import SpeechEncoder, frame_count, pad_waveforms

VERSION = 1
ARRAY, META = "features.npy", "features.json"


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

    def __reduce__(self) -> tuple[type["FeatureStore"], tuple[Corpus, Path]]:
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
        progress: bool = False,
    ) -> "FeatureStore":
        """Open the features of a corpus by an encoder, computing them first where they are not there yet.

        Args:
            corpus: all its speech is encoded, on the device the encoder is on.
            encoder: its `cache_key` names the folder, so another encoder or other weights never meet old features.
            storage: number format on disk; features are float32 in memory.
            cache_folder: where to keep them; None keeps them inside the corpus, under `features/`.
            batch_seconds: padded seconds of speech in one batch of the encoder.
            progress: show a progress bar.

        Raises UserError where the encoder's frame rate is not the corpus's, or nothing can be written.
        """
        if encoder.frame_rate != corpus.frame_rate:
            raise UserError(
                f"The encoder gives {encoder.frame_rate} frames a second and the corpus {corpus.folder} has "
                f"{corpus.frame_rate}; build the encoder with frame_rate={corpus.frame_rate}."
            )
        home = corpus.folder / "features" if cache_folder is None else Path(cache_folder) / corpus.hash[:16]
        folder = home / f"{encoder.cache_key()}-{storage}"
        if not (folder / META).is_file():
            _compute(corpus, encoder, folder, storage, batch_seconds, progress)
        return cls(corpus, folder)


def _frame_lengths(corpus: Corpus) -> np.ndarray:
    return np.array(
        [frame_count(row.num_samples, frame_rate=corpus.frame_rate) for row in corpus.speech], dtype=np.int64
    )


def _batches(corpus: Corpus, batch_seconds: float) -> Iterator[list[int]]:
    """Indices of similarly long speech, longest first; a padded batch lasts at most `batch_seconds`, or is one."""
    limit = batch_seconds * corpus.sample_rate
    batch: list[int] = []
    for index in sorted(range(len(corpus.speech)), key=lambda i: -corpus.speech[i].num_samples):
        if batch and (len(batch) + 1) * corpus.speech[batch[0]].num_samples > limit:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _compute(
    corpus: Corpus, encoder: SpeechEncoder, folder: Path, storage: str, batch_seconds: float, progress: bool
) -> None:
    """Encode all speech into `folder`, which appears only when all is done."""
    lengths = _frame_lengths(corpus)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    device = next((tensor.device for tensor in [*encoder.parameters(), *encoder.buffers()]), torch.device("cpu"))
    with _new_folder(folder) as temporary:
        shape = (int(starts[-1]), encoder.feature_size)
        array = np.lib.format.open_memmap(temporary / ARRAY, mode="w+", dtype=storage, shape=shape)
        batches = list(_batches(corpus, batch_seconds))
        title = f"features of {len(corpus.speech)} clips ({encoder.name})"
        for batch in track(batches, title, disable=not progress, console=Console(stderr=True)):
            waveforms, sample_lengths = pad_waveforms([corpus.waveform(index) for index in batch])
            features, frames = encoder(waveforms.to(device), sample_lengths.to(device))
            for index, row, count in zip(batch, features.cpu().numpy(), frames.tolist()):
                if count != lengths[index]:
                    raise UserError(
                        f"Encoder {encoder.name} gave {count} frames for {corpus.speech[index].speech_id}, expected "
                        f"{lengths[index]}; an encoder must give frame_count frames."
                    )
                with np.errstate(over="ignore"):
                    stored = row[:count].astype(storage)
                if not np.isfinite(stored).all():
                    raise UserError(
                        f"Features of {corpus.speech[index].speech_id} by {encoder.name} are not finite as {storage}; "
                        "use storage='float32', or look at that recording."
                    )
                array[starts[index] : starts[index + 1]] = stored
        array.flush()
        del array
        meta = {"version": VERSION, "corpus_hash": corpus.hash, "encoder": encoder.name}
        meta |= {"cache_key": encoder.cache_key(), "feature_size": encoder.feature_size, "storage": storage}
        write_json(temporary / META, meta)


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """`atomic_folder` whose error says where else features can go."""
    if not os.access(next(place for place in folder.parents if place.exists()), os.W_OK):
        raise UserError(
            f"Features cannot be written to {folder}: it is read-only. Give a cache folder to keep them in."
        )
    with atomic_folder(folder, ARRAY) as temporary:
        yield temporary
