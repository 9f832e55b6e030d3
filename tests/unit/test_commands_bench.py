"""Setting up a benchmark: what is recorded of its parts, and what is refused before anything slow."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_talker import FEATURES, write_tiny_parts

from deeptalk import commands
from deeptalk.baselines import EmoTalk, EmoTalkConfig
from deeptalk.bundle import Part, SpeechFeatures, read_bundle, weights_sha256, write_bundle, write_part
from deeptalk.corpus import Corpus, CorpusWriter
from deeptalk.errors import UserError
from deeptalk.files import read_json, write_json
from deeptalk.speech import build_encoder, frame_count

WORDS = ["takes=2", "resamples=100", "compare_with=EmoTalk"]


def write_corpus(folder: Path, test_speaker: str = "dora", frame_rate: float = 25.0) -> Corpus:
    rng = np.random.default_rng(0)
    with CorpusWriter(folder, frame_rate=frame_rate, provenance="test", license="CC0-1.0") as writer:
        for split, speaker in (("train", "anna"), ("val", "ben"), ("test", test_speaker)):
            for clip in range(2):
                samples = (0.1 * rng.standard_normal(9600)).astype(np.float32)
                about = {"speaker": speaker, "sentence": f"{split}-{clip}", "split": split, "emotion": clip}
                speech = writer.add_speech(f"{split}-{clip}", samples, **about)
                for i in range(5):
                    motion = rng.random((frame_count(9600, frame_rate), 52), dtype=np.float32)
                    about = {"speech": speech, "emotion": clip, "intensity": 0.5, "given": "speech"}
                    writer.add_performance(f"{split}-{clip}/{i}", motion, **about)
    assert writer.corpus is not None
    return writer.corpus


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A corpus, a bundle and EmoTalk, the latter two trained elsewhere on anna and others."""
    root = tmp_path_factory.mktemp("bench")
    key = build_encoder("logmel").cache_key()
    torch.manual_seed(0)
    sizes = {"encoder_size": 16, "encoder_layers": 1, "encoder_heads": 2, "encoder_feedforward": 16}
    widths = {"content_size": 8, "emotion_size": 8, "level_size": 4, "person_size": 4, "decoder_feedforward": 8}
    model = EmoTalk(EmoTalkConfig(speech_features=FEATURES, people=1, **sizes, **widths))
    part = Part("emotalk", "arkit", 25.0, SpeechFeatures("logmel", FEATURES, key), {}, "fedcba", ["emil"])
    return {
        "corpus": write_corpus(root / "corpus").folder,
        "bundle": write_bundle(root / "bundle", write_tiny_parts(root / "parts", key)),
        "emotalk": write_part(root / "emotalk", model, part),
    }


def open_bench(folders: dict[str, Path], *words: str, **changes: Path) -> commands.Bench:
    used = {**folders, **changes}
    return commands.open_bench(
        used["corpus"], "tiny", [*WORDS, *words], str(used["bundle"]), used["emotalk"], progress=False
    )


def test_the_report_records_weights_corpora_and_what_was_set(folders, tmp_path):
    bench = open_bench(folders)
    commands.run_bench(bench, tmp_path / "report", progress=False)
    settings = json.loads((tmp_path / "report" / "report.json").read_text())["settings"]
    trained = "0123456789abcdef"
    noisy = next(system for system in bench.systems if system.name == "EmoTalk + noise")
    assert settings["origins"] == {
        "bundle_sha256": read_bundle(folders["bundle"]).sha256,
        "emotalk_sha256": weights_sha256(folders["emotalk"]),
        "corpora": {"thvqvae": trained, "dee": trained, "talker": trained, "emotalk": "fedcba"},
        "emotalk_level": noisy.emotalk.level,
        "noise_scale": noisy.noise.scale,
    }
    assert noisy.noise.scale > 0
    page = (tmp_path / "report" / "report.md").read_text()
    assert "they are of 1 voice and 2 sentences; one training each" in page


def test_speakers_of_the_training_are_not_held_out(folders, tmp_path):
    seen = write_corpus(tmp_path / "seen", test_speaker="cleo").folder
    with pytest.raises(UserError, match=r"Part talker of bundle .* trained on speaker 'cleo', who is in split 'test'"):
        open_bench(folders, corpus=seen)
    heard = write_corpus(tmp_path / "heard", test_speaker="emil").folder
    with pytest.raises(UserError, match="emotalk was trained on speaker 'emil', who is in split 'test'"):
        open_bench(folders, corpus=heard)


def changed_emotalk(folders: dict[str, Path], out: Path, **changes: object) -> Path:
    part = read_json(folders["emotalk"] / "part.json")
    write_part(out, EmoTalk.from_pretrained(folders["emotalk"]), Part("emotalk", "arkit", 25.0))
    write_json(out / "part.json", {**part, **changes})
    return out


def test_of_its_own_corpus_only_the_training_split_is_refused(folders, tmp_path):
    own = Corpus.open(folders["corpus"]).hash
    emotalk = changed_emotalk(folders, tmp_path / "own", corpus=own, speakers=["anna", "dora"])
    assert open_bench(folders, emotalk=emotalk).origins["corpora"]["emotalk"] == own
    with pytest.raises(UserError, match="'anna', who is in split 'train'"):
        open_bench(folders, "split=train", emotalk=emotalk)


def test_a_part_of_another_kind_is_refused(folders, tmp_path):
    with pytest.raises(UserError, match=r"trained for frame rate 30\.0, the corpus is of frame rate 25\.0"):
        open_bench(folders, emotalk=changed_emotalk(folders, tmp_path / "rate", frame_rate=30.0))
    with pytest.raises(UserError, match="trained for rig flame, the corpus is of rig arkit"):
        open_bench(folders, emotalk=changed_emotalk(folders, tmp_path / "rig", rig="flame"))
    with pytest.raises(UserError, match="does not say on which speech features"):
        open_bench(folders, emotalk=changed_emotalk(folders, tmp_path / "speech", speech=None))
    bundle = read_bundle(folders["bundle"])
    parts = {name: dataclasses.replace(part, frame_rate=30.0) for name, part in bundle.parts.items()}
    corpus = Corpus.open(folders["corpus"])
    with pytest.raises(UserError, match="Part dee was trained for frame rate 30"):
        commands._check_part(parts["dee"], "Part dee", corpus, "test")


def test_words_are_checked_before_anything_slow(folders, monkeypatch):
    def slow(*_: object) -> None:
        raise AssertionError("the bundle was loaded")

    monkeypatch.setattr(commands, "load", slow)
    with pytest.raises(UserError, match="compare_with is 'Emo'; the systems are: DEEPTalk, EmoTalk, EmoTalk \\+ noise"):
        open_bench(folders, "compare_with=Emo")
    with pytest.raises(UserError, match="test-0 has 5 performances given='speech'; 4 true performances and 2"):
        open_bench(folders, "takes=4")
    with pytest.raises(AssertionError, match="bundle was loaded"):
        open_bench(folders, "takes=3")
