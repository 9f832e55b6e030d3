"""The authors' released weights (TH-VQVAE.pth, DEE.pt, the recogniser's file) -> a bundle of ours."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dee import DEE
from dee.emotion2vec import Emotion2Vec
from dee.released import DEAD_PATTERN, load_released_recogniser
from dee.released import load_released as load_released_dee
from deeptalk.bundle import Part, SpeechFeatures, write_bundle, write_part
from deeptalk.checkpoints.reading import SUFFIXES, read_weights
from deeptalk.errors import UserError
from deeptalk.files import file_sha256
from thvqvae.released import DEAD_KEYS
from thvqvae.released import load_released as load_released_thvqvae

_MARKS = {
    "thvqvae": "quantize_t.codebook.weight",
    "dee": "criterion.negative_scale",
    "recogniser": "in_fc.weight",
}
"""Name of a tensor that only this kind of checkpoint has."""
_TALKER_MARK = "sequence_decoder."
_FRAME_RATE = 25.0
_FEATURE_RATE = "50 frames a second"


@dataclass(frozen=True)
class Imported:
    """What was made of the files."""

    bundle: Path
    files: dict[str, Path]
    """thvqvae, dee, recogniser -> the file it came from."""
    dead: dict[str, list[str]]
    """Kind -> names of tensors that the authors' code stores and never uses; left out."""
    skipped: dict[Path, str]
    """Files with weights that were left alone, and why."""


def import_checkpoints(source: str | Path | Sequence[str | Path], out: str | Path) -> Imported:
    """Read released checkpoints safely and write them as a bundle of parts `thvqvae`, `recogniser`, `dee` and `speech`.

    What a file holds is told by its tensors, not by its name. DEE comes with the expression recogniser it was trained
    on inside, and with its own emotion2vec as the part `speech`. Whatever is found among the three is imported, but DEE
    needs the recogniser's file beside it. Another DEE can be trained on the recogniser.

    Args:
        source: a folder, searched with its subfolders, or files.
        out: folder of the bundle; it appears whole or not at all.

    Raises UserError for files that cannot be read safely, tensors that are missing, of another shape or not known, by
    name, and where there is nothing to import.
    """
    found, files, skipped = _found(_candidates(source))
    if "dee" in found and "recogniser" not in found:
        raise UserError(
            f"{files['dee']} is a DEE, which reads the features of an expression recogniser; put the recogniser's file "
            "(a multilayer perceptron with in_fc.weight) beside it."
        )
    if not found:
        raise UserError(
            f"{source} holds no released TH-VQVAE, DEE or recogniser; give TH-VQVAE.pth, DEE.pt or their folder."
        )
    dead: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folders = {}
        origin = {name: f"{path.name} (SHA-256 {file_sha256(path)[:12]})" for name, path in files.items()}
        if "thvqvae" in found:
            folders["thvqvae"] = _write_thvqvae(found["thvqvae"], files["thvqvae"], Path(scratch), origin)
            dead["thvqvae"] = sorted(DEAD_KEYS & set(found["thvqvae"]))
        if "recogniser" in found:
            folders["recogniser"] = _write_recogniser(found["recogniser"], files["recogniser"], Path(scratch), origin)
        if "dee" in found:
            folders |= _write_dee(found["dee"], found["recogniser"], files, Path(scratch), origin)
            dead["dee"] = sorted(key for key in found["dee"] if DEAD_PATTERN.match(key))
        notes = "Imported from the authors' files: " + "; ".join(f"{k}: {v}" for k, v in sorted(origin.items())) + "."
        bundle = write_bundle(out, folders, notes)
    return Imported(bundle, files, dead, skipped)


def _candidates(source: str | Path | Sequence[str | Path]) -> list[Path]:
    given = [Path(source)] if isinstance(source, str | Path) else [Path(one) for one in source]
    paths: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
            if not inside:
                raise UserError(f"{path} holds no file with weights ({', '.join(SUFFIXES)}).")
            paths += inside
        else:
            paths.append(path)
    return paths


def _found(paths: Sequence[Path]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Path], dict[Path, str]]:
    found: dict[str, dict[str, Tensor]] = {}
    files: dict[str, Path] = {}
    skipped: dict[Path, str] = {}
    for path in paths:
        weights = read_weights(path)
        kind = next((name for name, mark in _MARKS.items() if mark in weights), None)
        if kind is None:
            talker = any(key.startswith(_TALKER_MARK) for key in weights)
            skipped[path] = "a talker, which is not imported yet" if talker else "none of the released models"
        elif kind in files:
            raise UserError(f"{files[kind]} and {path} both hold a {kind}; give one of them.")
        else:
            found[kind], files[kind] = weights, path
    return found, files, skipped


def _write_thvqvae(weights: Mapping[str, Tensor], path: Path, scratch: Path, origin: Mapping[str, str]) -> Path:
    try:
        model = load_released_thvqvae(weights)
    except ValueError as error:
        raise UserError(f"{path} cannot be imported. {error}") from error
    config = {"imported_from": origin["thvqvae"]}
    return write_part(scratch / "thvqvae", model, Part("thvqvae", "flame", _FRAME_RATE, config=config))


def _write_recogniser(weights: Mapping[str, Tensor], path: Path, scratch: Path, origin: Mapping[str, str]) -> Path:
    try:
        model = load_released_recogniser(weights)
    except ValueError as error:
        raise UserError(f"{path} cannot be imported. {error}") from error
    config = {"imported_from": origin["recogniser"]}
    return write_part(scratch / "recogniser", model, Part("recogniser", "flame", _FRAME_RATE, config=config))


def _write_dee(
    weights: Mapping[str, Tensor],
    recogniser: Mapping[str, Tensor],
    files: Mapping[str, Path],
    scratch: Path,
    origin: Mapping[str, str],
) -> dict[str, Path]:
    try:
        model, speech = load_released_dee(weights, recogniser)
    except ValueError as error:
        raise UserError(f"{files['dee']} with {files['recogniser']} cannot be imported. {error}") from error
    key = f"{file_sha256(files['dee'])[:16]} at {_FEATURE_RATE}"
    features = SpeechFeatures("emotion2vec", model.config.speech_features, key)
    config = {"imported_from": f"{origin['dee']}, {origin['recogniser']}"}
    parts: dict[str, DEE | Emotion2Vec] = {"dee": model, "speech": speech}
    return {
        name: write_part(scratch / name, one, Part(name, "flame", _FRAME_RATE, features, config=config))
        for name, one in parts.items()
    }
