"""The training stages: each a config, a run folder with logs and checkpoints, and a part that later stages stand on.

A run folder holds `config.yaml` (resolved), `checkpoints/`, `csv/`, `wandb/` and `model/`, the trained part; that of a
DEE that trained blocks of its speech encoder also `speech/`, the encoder.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dee import DEE, DEEConfig, DEETraining, ExpressionRecogniser, RecogniserTraining
from dee.recogniser_training import accuracies
from deeptalk.baselines import EmoTalkTraining
from deeptalk.bundle import (
    Part,
    SpeechFeatures,
    check_fit,
    read_part,
    tuned_speech,
    weights_sha256,
    write_bundle,
    write_part,
)
from deeptalk.config import compose, config_dict, find_preset
from deeptalk.corpus import (
    ClipWindows,
    ClipWindowsConfig,
    Corpus,
    FeatureStore,
    MotionFrames,
    MotionWindows,
    SwappedPairs,
    feature_statistics,
    motion_statistics,
    open_corpora,
    speaker_offsets,
)
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError
from deeptalk.face import FlameRig, Rig, channels_of, compact_vertices, load_rig
from deeptalk.files import write_json
from deeptalk.speech import (
    TUNED,
    Source,
    SpeechEncoder,
    TunedFeatures,
    build_encoder,
    prosody_columns,
    with_tuned,
)
from deeptalk.stage_configs import DEEStage, EmoTalkStage, RecogniserStage, TalkerStage, THVQVAEStage
from deeptalk.talker import TalkerTraining
from deeptalk.training import fit, open_run
from thvqvae import THVQVAE, THVQVAETraining


@dataclass(frozen=True)
class Run:
    """What every stage's function gets."""

    corpus: Corpus
    folder: Path
    parents: Mapping[str, Path]
    """Part name to part folder."""
    encoder: SpeechEncoder | None
    progress: bool

    def store(self) -> FeatureStore:
        """Features of the corpus by the run's encoder."""
        assert self.encoder is not None
        return FeatureStore.build(self.corpus, self.encoder, progress=self.progress)

    def open(self, config: Any, rig: Rig | None = None) -> None:
        """Prepare the run's folder; UserError where it holds another run. `rig` is what losses are computed on."""
        inputs = {f"weights of {name}": weights_sha256(folder) for name, folder in self.parents.items()}
        inputs["corpus"] = self.corpus.hash
        if self.encoder is not None:
            inputs["speech encoder"] = self.encoder.cache_key()
        if isinstance(rig, FlameRig):
            inputs["FLAME file"] = rig.provenance["sha256"]
        open_run(self.folder, config, inputs)

    def part(self, name: str, config: Any, parents: Mapping[str, Path] | None = None) -> Part:
        """The record of the part this run makes."""
        speech = None
        if self.encoder is not None:
            speech = SpeechFeatures(self.encoder.name, self.encoder.feature_size, self.encoder.cache_key())
        return Part(
            name=name,
            rig=self.corpus.rig,
            frame_rate=self.corpus.frame_rate,
            speech=speech,
            parents={parent: weights_sha256(folder) for parent, folder in (parents or {}).items()},
            corpus=self.corpus.hash,
            corpus_license=str(self.corpus.manifest.get("license", "")),
            speakers=list(self.corpus.speakers("train")),
            config=config_dict(config),
        )


def _train_thvqvae(run: Run, config: THVQVAEStage) -> Path:
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, channels=len(channels_of(run.corpus.rig)))
    )
    rig = load_rig(run.corpus.rig, config.flame or None)
    vertices = compact_vertices(rig, config.region_weights)
    run.open(config, rig)
    torch.manual_seed(config.trainer.seed)
    module = THVQVAETraining(config.model, config.training, vertices)
    module.model.set_statistics(*motion_statistics(run.corpus))
    fit(module, MotionWindows(run.corpus, config.data), config.trainer, run.folder, "val/loss", run.progress)
    return write_part(run.folder / "model", module.model, run.part("thvqvae", config))


def _train_recogniser(run: Run, config: RecogniserStage) -> Path:
    model = dataclasses.replace(config.model, motion_channels=len(channels_of(run.corpus.rig)), emotions=len(EMOTIONS))
    config = dataclasses.replace(config, model=model)
    data = MotionFrames(run.corpus, config.data)
    if sum(count > 0 for count in data.counts) < 2:
        raise UserError(f"{run.corpus.name} has performances of one emotion only; a recogniser needs at least two.")
    run.open(config)
    torch.manual_seed(config.trainer.seed)
    module = RecogniserTraining(config.model, config.training, data.counts, EMOTIONS)
    module.model.set_statistics(*motion_statistics(run.corpus))
    fit(module, data, config.trainer, run.folder, "val/loss", run.progress)
    confusion = module.cpu().confusion(data.val_dataloader())
    report = {name: round(float(value), 4) for name, value in accuracies(confusion, EMOTIONS).items()}
    counts = {name: row.int().tolist() for name, row in zip(EMOTIONS, confusion)}
    write_json(run.folder / "confusion.json", {**report, "recognised_as": list(EMOTIONS), "acted": counts})
    return write_part(run.folder / "model", module.model, run.part("recogniser", config))


def _recogniser_of(run: Run, config: DEEConfig) -> ExpressionRecogniser | None:
    """The recogniser that DEE's motion side is to read, if it has a parent."""
    if "recogniser" not in run.parents:
        if config.recogniser is not None:
            raise UserError("model.recogniser is set, but no trained one was given; give --recogniser, its run folder.")
        return None
    part = read_part(run.parents["recogniser"], "recogniser")
    check_fit({"recogniser": part, "dee": run.part("dee", config)}, {})
    return ExpressionRecogniser.from_pretrained(run.parents["recogniser"])


def _columns(encoder: SpeechEncoder | None, name: str) -> list[int]:
    """First column and the one after the last that an encoder of a stack gives; none where no name is given."""
    assert encoder is not None
    places = encoder.columns()
    if name and name not in places:
        raise UserError(f"reads is {name!r}; expected one of the speech encoders {', '.join(places)}, or nothing.")
    return [places[name].start, places[name].stop] if name else []


def _check_labels(corpus: Corpus) -> None:
    """Raise UserError, before hours of training, where prototypes could not be fitted afterwards."""
    strongest: dict[int, float] = {}
    for index in corpus.performances_in("train"):
        row = corpus.performances[index]
        strongest[row.emotion] = max(strongest.get(row.emotion, 0.0), row.intensity)
    if 0 not in strongest:
        raise UserError(f"{corpus.name} has no neutral performance to train on; DEE measures intensity from there.")
    flat = [EMOTIONS[emotion] for emotion, intensity in strongest.items() if emotion > 0 and intensity == 0]
    if flat:
        raise UserError(f"Every {flat[0]} performance of {corpus.name} has intensity 0; record intensities above 0.")


def _offsets(
    corpus: Corpus, store: FeatureStore, prosody: slice | None, data: ClipWindowsConfig
) -> dict[int, np.ndarray] | None:
    """What hearing clips relative to their speaker takes off, of both splits; None where none are heard so."""
    if prosody is None:
        return None
    both = [speaker_offsets(corpus, store, prosody, split) for split in (data.train_split, data.val_split)]
    return both[0] | both[1]


def _train_dee(run: Run, config: DEEStage) -> Path:
    _check_labels(run.corpus)
    recogniser, columns = _recogniser_of(run, config.model), _columns(run.encoder, config.reads)
    assert run.encoder is not None
    if config.data.centred_share and config.reads not in ("", "prosody"):
        raise UserError(
            f"data.centred_share is {config.data.centred_share:g}, but DEE reads {config.reads!r} alone and only "
            "prosody is heard relative to the speaker; set reads=prosody or reads= (everything), or "
            "data.centred_share=0."
        )
    prosody = prosody_columns(run.encoder) if config.data.centred_share else None
    store = run.store()  # may take hours, so what can be is checked before
    offsets = _offsets(run.corpus, store, prosody, config.data)
    model = dataclasses.replace(
        config.model,
        speech_features=store.feature_size,
        speech_columns=columns,
        motion_channels=len(channels_of(run.corpus.rig)),
        recogniser=None if recogniser is None else recogniser.config,
    )
    config = dataclasses.replace(config, model=model)
    run.open(config)
    torch.manual_seed(config.trainer.seed)
    speech = None
    if config.trained_blocks:
        speech = TunedFeatures(run.encoder, config.trained_blocks, config.reads)
    module = DEETraining(config.model, config.training, speech)
    if recogniser is not None and module.model.recogniser is not None:
        module.model.recogniser.load_state_dict(recogniser.state_dict())
    module.model.set_statistics(*feature_statistics(store, run.corpus), *motion_statistics(run.corpus))
    data = ClipWindows(run.corpus, store, config.data, waveforms=speech is not None, offsets=offsets)
    fit(module, data, config.trainer, run.folder, "val/means_loss", run.progress)
    parents = dict(run.parents)
    if speech is not None:
        network = speech.cpu().network.requires_grad_(False)
        parents[TUNED] = write_part(run.folder / TUNED, network, run.part(TUNED, config))
        store = run.store()
    whole = ClipWindows(run.corpus, store, dataclasses.replace(config.data, whole_clips=True), offsets=offsets)
    module.model.fit_prototypes(whole.train_dataloader())
    return write_part(run.folder / "model", module.model, run.part("dee", config, parents))


def _train_talker(run: Run, config: TalkerStage) -> Path:
    missing = [name for name in ("thvqvae", "dee") if name not in run.parents]
    if missing:
        raise UserError(f"The talker stands on thvqvae and dee; give --{' and --'.join(missing)}, their run folders.")
    first_column, stop_column = _columns(run.encoder, config.reads) or (0, 0)
    parts = {name: read_part(folder, name) for name, folder in run.parents.items()}
    weights = {name: weights_sha256(folder) for name, folder in run.parents.items()}
    check_fit({**parts, "talker": run.part("talker", config)}, weights)
    prior = THVQVAE.from_pretrained(run.parents["thvqvae"])
    dee = DEE.from_pretrained(run.parents["dee"])
    speakers = run.corpus.speakers("train")
    store = run.store()
    model = dataclasses.replace(
        config.model,
        feature_size=store.feature_size,
        content_first=first_column,
        content_features=stop_column - first_column,
        emotion_size=dee.config.embedding_size,
        num_speakers=len(speakers),
        top_codes=prior.config.top_codes,
        bottom_codes=prior.config.bottom_codes,
        decoded_top_size=prior.config.hidden_size,
    )
    config = dataclasses.replace(config, model=model)
    rig = load_rig(run.corpus.rig, config.flame or None)
    vertices = compact_vertices(rig, config.region_weights)
    run.open(config, rig)
    data = ClipWindows(run.corpus, store, config.data)
    torch.manual_seed(config.trainer_1.seed)
    first = TalkerTraining(model, config.stage_1, prior, dee, vertices)
    first.model.set_statistics(*feature_statistics(store, run.corpus))
    fit(first, data, config.trainer_1, run.folder / "stage_1", "val/loss", run.progress)
    torch.manual_seed(config.trainer_2.seed)
    second = TalkerTraining(model, config.stage_2, prior, dee, vertices)
    second.model.load_state_dict(first.model.state_dict())
    fit(second, data, config.trainer_2, run.folder / "stage_2", "val/loss", run.progress)
    part = run.part("talker", config, run.parents)
    write_part(run.folder / "model", second.model, part)
    return write_bundle(run.folder / "bundle", {**run.parents, "talker": run.folder / "model"})


def _train_emotalk(run: Run, config: EmoTalkStage) -> Path:
    store = run.store()
    model = dataclasses.replace(
        config.model,
        speech_features=store.feature_size,
        channels=len(channels_of(run.corpus.rig)),
        people=len(run.corpus.speakers("train")),
        frame_rate=run.corpus.frame_rate,
    )
    config = dataclasses.replace(config, model=model)
    data = SwappedPairs(run.corpus, store, config.data)
    run.open(config)
    torch.manual_seed(config.trainer.seed)
    module = EmoTalkTraining(config.model, config.training)
    module.model.set_statistics(*feature_statistics(store, run.corpus))
    fit(module, data, config.trainer, run.folder, "val/motion", run.progress)
    return write_part(run.folder / "model", module.model, run.part("emotalk", config))


@dataclass(frozen=True)
class Stage:
    """A stage's config class, the function that runs it, and the parts it may stand on."""

    config: type
    train: Callable[[Run, Any], Path]
    parents: tuple[str, ...] = ()


STAGES: dict[str, Stage] = {
    "thvqvae": Stage(THVQVAEStage, _train_thvqvae),
    "recogniser": Stage(RecogniserStage, _train_recogniser),
    "dee": Stage(DEEStage, _train_dee, ("recogniser",)),
    "talker": Stage(TalkerStage, _train_talker, ("thvqvae", "dee")),
    "emotalk": Stage(EmoTalkStage, _train_emotalk),
}


def part_folder(folder: str | Path) -> Path:
    """The part inside a run folder, or the folder itself where it is a part."""
    folder = Path(folder)
    return folder / "model" if (folder / "model" / "part.json").is_file() else folder


def train_stage(
    name: str,
    corpora: Sequence[str | Path],
    out: str | Path,
    preset: str = "tiny",
    words: Sequence[str] = (),
    parents: Mapping[str, str | Path] | None = None,
    speech_source: Source = None,
    progress: bool = True,
) -> Path:
    """Train one stage on one or several corpora, or resume it.

    Returns what it made: a part's folder, or the talker's bundle.

    Args:
        name: thvqvae, recogniser, dee, talker or emotalk.
        corpora: folders of corpora.
        out: the run's folder.
        preset: preset by word, or a YAML file.
        words: changes to the config, as key=value.
        parents: part name to run or part folder; the talker needs thvqvae and dee, dee may have a recogniser.
        speech_source: weights of speech encoders, see `build_encoder`; those trained with DEE are found beside it.

    Raises UserError for a bad config, a parent of another kind, rig, frame rate, codebook or speech encoder, or a run
    folder that holds another run.
    """
    stage = STAGES[name]
    strange = ", ".join(f"--{parent}" for parent in parents or {} if parent not in stage.parents)
    if strange:
        known = " and ".join(f"--{parent}" for parent in stage.parents) or "no other run"
        raise UserError(f"The stage {name} does not stand on what {strange} gives; it takes {known}.")
    config: Any = compose(stage.config, [find_preset(name, preset)], words)
    folders = {parent: part_folder(folder) for parent, folder in (parents or {}).items()}
    tuned = tuned_speech(folders["dee"]) if "dee" in folders else None
    if tuned is not None:
        folders[TUNED] = tuned
    encoder = None
    if hasattr(config, "speech"):
        encoder = build_encoder(config.speech, with_tuned(config.speech, speech_source, tuned))
    return stage.train(Run(open_corpora(corpora), Path(out), folders, encoder, progress), config)
