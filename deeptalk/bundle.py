"""Trained parts on disk, and the bundle of all that a talker needs.

A part is a folder with `config.json` and `model.safetensors` (as `save_pretrained` writes them) and `part.json`, which
says what it was trained for: rig, frame rate, speech features, and the weights of the parents it stands on. Every stage
writes a part. A bundle is a folder with parts, a manifest with the hash of every file, and a model card. One that
performs has `thvqvae`, `dee` and `talker`; imported checkpoints may give only the first two and their speech encoder.
"""

import dataclasses
import itertools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar, runtime_checkable

from dee import DEE
from deeptalk import __version__
from deeptalk.errors import UserError
from deeptalk.face import channels_of
from deeptalk.files import atomic_folder, file_sha256, read_json, write_json, write_text
from deeptalk.speech import TUNED
from deeptalk.talker import IndexPredictor
from thvqvae import THVQVAE

Model = TypeVar("Model")

FORMAT_VERSION = 1
PART_NAMES = ("thvqvae", "dee", "talker")
"""The parts that a bundle needs to perform."""
OPTIONAL = (TUNED, "recogniser")
"""Parts that it may have besides: a speech encoder that was trained with DEE, beside whose part it lies, and a released
recogniser, of which DEE holds a copy."""
STAND_ALONE = ("emotalk",)
"""Trained parts that belong to no bundle."""
_PART_FILES = ("config.json", "model.safetensors", "part.json")


@runtime_checkable
class Saveable(Protocol):
    """A model that writes `config.json` and `model.safetensors` into a folder."""

    def save_pretrained(self, folder: Path) -> None:
        """Write config and weights."""


@dataclass(frozen=True)
class SpeechFeatures:
    """Which speech features a part was trained on."""

    name: str
    """Name of the encoder stack, such as whisper+prosody."""
    feature_size: int
    """Channels."""
    cache_key: str
    """`SpeechEncoder.cache_key()`: encoders, weights, rate and version."""


@dataclass(frozen=True)
class Part:
    """What a trained part fits."""

    name: str
    """thvqvae, recogniser, dee, talker, speech or emotalk."""
    rig: str
    """Rig whose channels its motions have."""
    frame_rate: float
    """Frames per second of its motions."""
    speech: SpeechFeatures | None = None
    """Speech features it reads; None for the motion prior."""
    parents: dict[str, str] = field(default_factory=dict)
    """Part name to SHA-256 of `model.safetensors` of each part it was trained on top of."""
    corpus: str = ""
    """Hash of the corpus it was trained on."""
    speakers: list[str] = field(default_factory=list)
    """Names of the speakers it knows, in the order of their numbers."""
    config: dict[str, Any] = field(default_factory=dict)
    """Resolved config of its training run."""
    corpus_license: str = ""
    """Licence of the corpus, which may bind the weights too."""

    def __post_init__(self) -> None:
        """Raise UserError for a name that no part has."""
        names = (*PART_NAMES, *OPTIONAL, *STAND_ALONE)
        if self.name not in names:
            known = ", ".join(names)
            raise UserError(f"A part is named {self.name!r}; expected one of {known}.")


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and checked; the modules are in eval mode on the CPU."""

    folder: Path
    manifest: dict[str, Any]
    parts: dict[str, Part]
    motion_prior: THVQVAE
    dee: DEE
    predictor: IndexPredictor
    sha256: str
    """SHA-256 of the manifest, which holds the hashes of everything else."""

    @property
    def talker(self) -> Part:
        """The talker's record: rig, frame rate, speech features and speakers."""
        return self.parts["talker"]


def write_part(folder: str | Path, model: Saveable, part: Part) -> Path:
    """Write a trained part atomically; returns its folder."""
    folder = Path(folder)
    with atomic_folder(folder, "config.json") as temporary:
        model.save_pretrained(temporary)
        write_json(temporary / "part.json", dataclasses.asdict(part))
    return folder


def read_part(folder: str | Path, name: str) -> Part:
    """Read what a part fits; raises UserError where the folder is no such part, or of another kind."""
    folder = Path(folder)
    missing = [file for file in _PART_FILES if not (folder / file).is_file()]
    if missing:
        raise UserError(
            f"{folder} is not a trained {name}: {', '.join(missing)} not found. Give the stage's output folder."
        )
    content = read_json(folder / "part.json")
    try:
        speech = content["speech"] and SpeechFeatures(**content["speech"])
        part = Part(**{**content, "speech": speech})
    except (TypeError, KeyError) as error:
        raise UserError(f"{folder / 'part.json'} is not a part's record ({error}); train the part again.") from error
    if part.name != name:
        raise UserError(f"{folder} holds {part.name}, expected {name}.")
    return part


def weights_sha256(folder: str | Path) -> str:
    """Hash of a part's weights, as `Part.parents` records it."""
    return file_sha256(Path(folder) / "model.safetensors")


def tuned_speech(dee: str | Path) -> Path | None:
    """The folder of the speech encoder that was trained with a DEE, beside its part; None where it was not trained.

    Raises UserError where it is gone, or another.
    """
    part, folder = read_part(dee, "dee"), Path(dee).resolve().parent / TUNED
    if TUNED not in part.parents:
        return None
    if not (folder / "model.safetensors").is_file():
        raise UserError(f"{dee} was trained together with its speech encoder, which belongs in {folder}; put it there.")
    check_fit({"dee": part, TUNED: read_part(folder, TUNED)}, {TUNED: weights_sha256(folder)})
    return folder


def check_fit(parts: Mapping[str, Part], weights: Mapping[str, str]) -> None:
    """Raise UserError naming the first two parts that do not fit: rig, frame rate, speech features, parent weights.

    `weights` maps each part's name to the hash of its weights. For the talker, another `thvqvae` is another codebook.
    """
    listed = list(parts.values())
    for first, second in itertools.pairwise(listed):
        for quantity, one, other in (
            ("rig", first.rig, second.rig),
            ("frame rate", first.frame_rate, second.frame_rate),
        ):
            if one != other:
                raise UserError(
                    f"{second.name} was trained for {quantity} {other}, {first.name} for {quantity} {one}. "
                    f"Train one of them again so that both have the same {quantity}."
                )
    heard = [part for part in listed if part.speech is not None]
    for first, second in itertools.pairwise(heard):
        if first.speech != second.speech:
            raise UserError(
                f"{second.name} was trained on the speech features {_describe(second.speech)}, {first.name} on "
                f"{_describe(first.speech)}. Train one of them again with the same speech encoder."
            )
    for part in listed:
        for parent, expected in part.parents.items():
            if parent in weights and weights[parent] != expected:
                what = "another codebook" if parent == "thvqvae" else "other weights"
                raise UserError(
                    f"{part.name} was trained on a {parent} with {what} ({expected[:12]}, this one has "
                    f"{weights[parent][:12]}). Give the {parent} it was trained on, or train {part.name} again."
                )


def _describe(speech: SpeechFeatures | None) -> str:
    return "none" if speech is None else f"{speech.name} ({speech.feature_size} channels, {speech.cache_key})"


def write_bundle(out: str | Path, folders: Mapping[str, str | Path], notes: str = "") -> Path:
    """Gather parts from `folders` (name to folder) into a bundle.

    With a `talker` it needs all three of `PART_NAMES` and performs; without, it keeps what other stages stand on.
    `notes` is Markdown for the model card: what it was trained on and how well it does. Raises UserError where parts
    are missing or do not fit each other. The bundle appears whole or not at all.
    """
    out = Path(out)
    unknown, missing = set(folders) - {*PART_NAMES, *OPTIONAL}, set(PART_NAMES) - set(folders)
    if not folders or unknown or ("talker" in folders and missing):
        raise UserError(f"A bundle is made of {', '.join(PART_NAMES)}; given were {', '.join(folders) or 'none'}.")
    names = [name for name in (*PART_NAMES, *OPTIONAL) if name in folders]
    parts = {name: read_part(folders[name], name) for name in names}
    check_fit(parts, {name: weights_sha256(folders[name]) for name in names})
    _check_tuned(parts, "These parts")
    last = parts.get("talker") or parts[names[0]]
    heard = next((part.speech for part in reversed(parts.values()) if part.speech), None)
    with atomic_folder(out, "manifest.json") as temporary:
        files = {}
        for name in names:
            (temporary / name).mkdir()
            for file in _PART_FILES:
                shutil.copyfile(Path(folders[name]) / file, temporary / name / file)
                files[f"{name}/{file}"] = file_sha256(temporary / name / file)
        manifest = {
            "format_version": FORMAT_VERSION,
            "project_version": __version__,
            "rig": last.rig,
            "channels": list(channels_of(last.rig)),
            "frame_rate": last.frame_rate,
            "speech": heard and dataclasses.asdict(heard),
            "files": files,
            "parts": {name: dataclasses.asdict(part) for name, part in parts.items()},
        }
        write_json(temporary / "manifest.json", manifest)
        write_text(temporary / "README.md", _model_card(parts, files, notes))
    return out


def _check_tuned(parts: Mapping[str, Part], where: str) -> None:
    """Raise UserError where DEE was trained with its speech encoder and that is not there."""
    if "dee" in parts and TUNED in parts["dee"].parents and TUNED not in parts:
        raise UserError(f"{where} lack the part {TUNED}, the speech encoder that was trained with dee; add it.")


_USE = """From 16 kHz speech to facial motion: {speakers} known speakers. Each take is one draw of emotion and codes.

    import deeptalk
    takes = deeptalk.load("this folder").perform("speech.wav", takes=4, seed=0)"""
_PRIORS = """Parts that other stages stand on; without a talker it does not perform.

    THVQVAE.from_pretrained("this folder/thvqvae")
    DEE.from_pretrained("this folder/dee", speech=Emotion2Vec.from_pretrained("this folder/speech"))"""


def _model_card(parts: Mapping[str, Part], files: Mapping[str, str], notes: str) -> str:
    last = list(parts.values())[-1]
    speech = next((part.speech.name for part in parts.values() if part.speech), "none")
    use = _USE.format(speakers=len(parts["talker"].speakers)) if "talker" in parts else _PRIORS
    rows = "\n".join(
        f"| {name} | {part.corpus[:12] or 'not recorded'} | {part.corpus_license or 'not recorded'} "
        f"| {files[f'{name}/model.safetensors'][:12]} |"
        for name, part in parts.items()
    )
    return f"""---
license: other
license_name: that-of-the-corpora
tags: [speech-driven-animation, facial-animation, deeptalk]
---
# DEEPTalk bundle

Rig `{last.rig}`, {last.frame_rate:g} frames a second, speech features `{speech}`. {use}

| part | corpus | licence of the corpus | weights (SHA-256) |
| --- | --- | --- | --- |
{rows}

{notes.strip() or "No evaluation is recorded for this bundle."}

Limits: motion is that of the corpora above; head pose is not predicted. Do not use it to make a person appear to say
what they did not say.
"""


def _names(manifest: Mapping[str, Any]) -> list[str]:
    """The parts of a bundle that performs."""
    return [*PART_NAMES, *(name for name in OPTIONAL if name in manifest["parts"])]


def _check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise UserError for a file that lies outside, is missing, or is not the one the manifest knows."""
    wanted = {f"{part}/{file}" for part in _names(manifest) for file in _PART_FILES}
    for name in manifest["files"]:
        # Only the name is judged: a hub cache links every file to its blob folder, and the hash vouches for the bytes.
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise UserError(
                f"The manifest of bundle {folder} names {name!r}, outside the bundle; do not use this bundle."
            )
    missing = sorted(wanted - set(manifest["files"]))
    if missing:
        raise UserError(
            f"The manifest of bundle {folder} does not list {missing[0]}; write or download the bundle again."
        )
    for name, expected in manifest["files"].items():
        part = name.split("/")[0]
        if not (folder / name).is_file():
            raise UserError(f"Bundle {folder} lacks {name} of its part {part}; download or write the bundle again.")
        if file_sha256(folder / name) != expected:
            raise UserError(
                f"Part {part} of bundle {folder} is damaged: {name} is not the file that the manifest describes. "
                "Download or write the bundle again."
            )


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Read and check a bundle's manifest; raises UserError where there is none, or one of another format."""
    folder = Path(folder)
    if not (folder / "manifest.json").is_file():
        raise UserError(
            f"{folder} is not a bundle: it has no manifest.json. Give the folder `bundle` of a talker's run."
        )
    manifest = read_json(folder / "manifest.json")
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise UserError(f"Bundle {folder} has format {version}; this version reads {FORMAT_VERSION}. Update deeptalk.")
    absent = [key for key in ("rig", "channels", "frame_rate", "files", "parts") if key not in manifest]
    if absent:
        raise UserError(
            f"The manifest of bundle {folder} lacks {', '.join(absent)}; write or download the bundle again."
        )
    return manifest


def read_bundle(folder: str | Path) -> Bundle:
    """Read a bundle after checking every hash, and that its parts fit the rig and each other.

    Raises UserError naming the part that is damaged or does not fit.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if "talker" not in manifest["parts"]:
        raise UserError(
            f"Bundle {folder} holds {', '.join(manifest['parts'])} and no talker, so it cannot perform; train a talker "
            "on them, or give a bundle that has one."
        )
    _check_files(folder, manifest)
    names = _names(manifest)
    parts = {name: read_part(folder / name, name) for name in names}
    check_fit(parts, {name: manifest["files"][f"{name}/model.safetensors"] for name in names})
    _check_tuned(parts, f"The parts of bundle {folder}")
    talker = parts["talker"]
    for key, own in (("rig", talker.rig), ("frame_rate", talker.frame_rate)):
        if manifest[key] != own:
            raise UserError(f"Bundle {folder} is of {key} {manifest[key]}, its part talker of {own}; write it again.")
    if list(manifest["channels"]) != list(channels_of(talker.rig)):
        raise UserError(f"Bundle {folder} was made for another set of channels of rig {talker.rig!r}; train it again.")
    motion_prior = _load(THVQVAE.from_pretrained, folder, "thvqvae").eval()
    dee = _load(DEE.from_pretrained, folder, "dee").eval()
    predictor = _load(IndexPredictor.from_pretrained, folder, "talker").eval()
    _check_sizes(folder, manifest, motion_prior, dee, predictor)
    return Bundle(folder, manifest, parts, motion_prior, dee, predictor, file_sha256(folder / "manifest.json"))


def _load(read: Callable[[Path], Model], folder: Path, part: str) -> Model:
    try:
        return read(folder / part)
    except ValueError as error:
        raise UserError(
            f"Part {part} of bundle {folder} is broken or was written by another version: {error} Train {part} again."
        ) from error


def _check_sizes(
    folder: Path, manifest: Mapping[str, Any], motion_prior: THVQVAE, dee: DEE, predictor: IndexPredictor
) -> None:
    """Raise UserError where the modules' sizes do not fit each other, the rig's channels or the speech features."""
    try:
        predictor.check_parents(motion_prior, dee)
    except ValueError as error:
        raise UserError(f"The parts of bundle {folder} do not fit each other. {error}") from error
    channels = len(manifest["channels"])
    if motion_prior.config.channels != channels:
        raise UserError(
            f"Part thvqvae of bundle {folder} has {motion_prior.config.channels} channels, its rig "
            f"{manifest['rig']!r} has {channels}; train it again for that rig."
        )
