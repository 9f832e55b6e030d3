"""Bad input through the real command: one clear sentence and exit code 2, nothing left behind, or it works."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from smallest_chain import WORDS, speech_like

from deeptalk.files import file_sha256
from deeptalk.speech import load_waveform
from deeptalk.take import Take

pytestmark = pytest.mark.slow


@pytest.fixture
def recording(tmp_path):
    """Write samples as a sound file and give its path."""

    def write(name, samples, rate=16000, subtype="PCM_16"):
        soundfile.write(tmp_path / name, samples, rate, subtype=subtype)
        return tmp_path / name

    return write


@pytest.fixture
def out(tmp_path):
    """Where commands are told to write."""
    return tmp_path / "out"


@pytest.fixture
def sample(deeptalk, chain, out):
    """`deeptalk sample FILE ...` with the chain's bundle."""
    return lambda *words: deeptalk("sample", "--bundle", chain.bundle, "--out", out, "--format", "npz", *words)


@pytest.fixture
def train(deeptalk, chain, out):
    """`deeptalk train STAGE ...` on the chain's corpus."""
    return lambda stage, *words: deeptalk("train", stage, "--corpus", chain.corpus, "--out", out, *words)


def nan_samples():
    samples = speech_like(0.5)
    samples[100] = np.nan
    return samples


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("missing.wav", None, "does not exist"),
        ("empty.wav", lambda path: path.touch(), "is empty (0 bytes)"),
        ("text.wav", lambda path: path.write_text("Hello, this is no sound.\n"), "is not audio that can be read"),
        ("none.wav", lambda path: soundfile.write(path, np.zeros(0), 16000), "holds 0 samples"),
        ("nan.wav", lambda path: soundfile.write(path, nan_samples(), 16000, subtype="FLOAT"), "not finite"),
        ("folder.wav", lambda path: path.mkdir(), "is a folder"),
    ],
)
def test_recordings_that_cannot_be_performed(sample, recording, tmp_path, out, name, write, words):
    if write:
        write(tmp_path / name)
    error = sample(recording("good.wav", speech_like(0.5)), tmp_path / name).error
    assert words in error
    assert str(tmp_path / name) in error
    assert not out.exists()  # nor takes of the good recording before it


@pytest.mark.parametrize(
    ("name", "samples", "rate", "subtype", "frames"),
    [
        ("silence", np.zeros(16000, np.float32), 16000, "PCM_16", 25),
        ("10 ms", speech_like(0.5)[2000:2160], 16000, "PCM_16", 1),
        ("one sample", np.array([0.1]), 16000, "PCM_16", 1),
        ("telephone", np.stack([speech_like(1, 8000)] * 2, axis=1), 8000, "PCM_24", 25),
        ("studio", np.stack([speech_like(1, 96000)] * 6, axis=1), 96000, "FLOAT", 25),
    ],
)
def test_odd_recordings_that_work(sample, recording, out, name, samples, rate, subtype, frames):
    path = recording(f"{name}.wav", samples, rate, subtype)
    outcome = sample(path, "--takes", 2)
    assert outcome.code == 0, outcome
    takes = [Take.load(out / f"{name}_take{number}.npz") for number in (1, 2)]
    assert [take.frame_count for take in takes] == [frames] * 2
    np.testing.assert_array_equal(takes[0].samples, load_waveform(path).samples)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--takes", 0), "takes is 0; expected at least 1."),
        (("--takes", -3), "takes is -3; expected at least 1."),
        (("--format", "pdf"), "Unknown format 'pdf'"),
        (("--format", "npz,pdf"), "Unknown format 'pdf'"),
        (("--format", ""), "--format is empty"),
        (("--emotion", "hapy"), "Did you mean 'happy'?"),
        (("--emotion", ""), "expected a label (happy), a blend"),
        (("--emotion", "happy", "--intensity", 2), "intensity is '2'; expected a number from 0"),
        (("--emotion", "happy", "--intensity", -0.1), "intensity is '-0.1'; expected a number from 0"),
        (("--intensity", 0.5), "no emotion is given"),
        (("--spread", -1), "spread is -1.0; expected a number of 0 or more."),
        (("--spread", "nan"), "spread is nan; expected a number of 0 or more."),
        (("--temperature", -1), "temperature is -1.0; expected a number of 0 or more."),
        (("--temperature", "inf"), "temperature is inf; expected a number of 0 or more."),
    ],
)
def test_settings_out_of_range(sample, recording, out, words, expected):
    assert expected in sample(recording("good.wav", speech_like(0.5)), *words).error
    assert not out.exists()


def test_unknown_format_names_those_there_are(sample, recording):
    error = sample(recording("good.wav", speech_like(0.5)), "--format", "pdf").error
    assert all(name in error for name in ("npz", "csv", "html"))


def test_what_is_no_number_or_no_command_is_a_usage_error(sample, deeptalk, recording):
    for outcome in (sample(recording("good.wav", speech_like(0.5)), "--takes", "many"), deeptalk("smaple", "a.wav")):
        assert outcome.code == 2
        assert "Usage: deeptalk" in outcome.stderr
        assert "Traceback" not in outcome.stderr
    assert "Did you mean 'sample'?" in outcome.stderr


def test_two_recordings_of_one_name(sample, recording, out, tmp_path):
    (tmp_path / "b").mkdir()
    first = recording("good.wav", speech_like(0.5))
    assert "overwrite each other" in sample(first, shutil.copy(first, tmp_path / "b" / "good.wav")).error
    assert not out.exists()


def test_a_recording_too_long_is_found_before_any_take(sample, recording, out):
    error = sample(recording("good.wav", speech_like(0.5)), recording("long.wav", np.zeros(121 * 16000))).error
    assert "long.wav lasts 121.0 s; up to 120 s" in error
    assert not out.exists()


def test_a_bar_counts_the_takes_of_several_recordings(sample, recording, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich draws as on a terminal
    first, second = recording("first.wav", speech_like(0.5)), recording("second.wav", speech_like(0.5))
    assert "Takes" not in sample(first).stderr
    outcome = sample(first, second, "--takes", 2)
    assert outcome.code == 0
    assert "Takes" in outcome.stderr
    assert "100%" in outcome.stderr
    assert "Takes" not in outcome.stdout


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_stands_where_the_folder_should_be(deeptalk, chain, recording, below, tmp_path):
    path = recording("good.wav", speech_like(0.5))
    before = path.read_bytes()
    error = deeptalk("sample", path, "--bundle", chain.bundle, "--out", path / below).error
    assert f"Cannot write {path / below}" in error
    assert "is a file, not a folder" in error
    assert path.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == ["good.wav"]


def test_a_run_folder_that_is_a_file(deeptalk, chain, recording):
    path = recording("good.wav", speech_like(0.5))
    assert str(path) in deeptalk("train", "thvqvae", "--corpus", chain.corpus, "--out", path).error


# Bundles


@pytest.fixture
def bundle(chain, tmp_path):
    return shutil.copytree(chain.bundle, tmp_path / "bundle")


def rewrite(bundle, part, **changes):
    """Change a part's record and the manifest's hash of it, as another training would have written them."""
    path = bundle / part / "part.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][f"{part}/part.json"] = file_sha256(path)
    manifest["parts"][part].update(changes)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def error_of(deeptalk, recording, out):
    """What `sample` says about a bundle."""

    def run(bundle):
        error = deeptalk("sample", recording("good.wav", speech_like(0.5)), "--bundle", bundle, "--out", out).error
        assert not out.exists()
        return error

    return run


def test_part_of_another_rig(error_of, bundle):
    rewrite(bundle, "thvqvae", rig="flame")
    error = error_of(bundle)
    assert "rig arkit" in error
    assert "rig flame" in error


def test_bundle_of_a_rig_that_is_not_there(error_of, bundle):
    for part in ("thvqvae", "dee", "talker"):
        rewrite(bundle, part, rig="flame")
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "rig": "flame"}))
    assert "'flame'" in error_of(bundle)


def test_talker_of_another_codebook(error_of, bundle):
    parents = json.loads((bundle / "talker" / "part.json").read_text())["parents"]
    rewrite(bundle, "talker", parents={**parents, "thvqvae": "0" * 64})
    assert "another codebook" in error_of(bundle)


@pytest.mark.parametrize("file", ["talker/model.safetensors", "dee/config.json", "thvqvae/part.json"])
def test_bundle_with_a_changed_byte(error_of, bundle, file):
    content = bytearray((bundle / file).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / file).write_bytes(content)
    error = error_of(bundle)
    assert "damaged" in error
    assert file in error


def test_bundle_with_a_part_missing(error_of, bundle):
    (bundle / "dee" / "model.safetensors").unlink()
    assert "lacks dee/model.safetensors" in error_of(bundle)


def test_weights_that_are_none_behind_a_fitting_hash(error_of, bundle):
    weights = bundle / "dee" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["dee/model.safetensors"] = file_sha256(weights)
    talker = json.loads((bundle / "talker" / "part.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    rewrite(bundle, "talker", parents={**talker["parents"], "dee": file_sha256(weights)})
    error = error_of(bundle)
    assert str(bundle / "dee") in error
    assert "cannot be read" in error


def test_no_bundle_at_all(deeptalk, error_of, recording, tmp_path):
    assert "no bundle at nowhere" in error_of("nowhere")
    assert "is not a bundle" in error_of(tmp_path)
    assert "deeptalk demo" in deeptalk("sample", recording("good.wav", speech_like(0.5))).error


# Corpora, configs, training


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("trainer.max_epoch=2", "Did you mean 'trainer.max_epochs'?"),
        ("model.hiden_size=2", "Did you mean 'model.hidden_size'?"),
        ("traner.max_epochs=2", "Did you mean 'trainer'?"),
        ("colour=red", "Known keys there: model, training, data, trainer, region_weights, flame."),
        ("trainer.max_epochs=many", "trainer.max_epochs"),
        ("trainer.max_epochs", "is not of the form key=value"),
        ("trainer.max_epochs=0", "max_epochs is 0; expected at least 1."),
        ("model.heads=5", "hidden_size 64 is not a multiple of heads 5"),
        ("data.train_split=trian", "there are: train, val, test"),
        ("region_weights={mouth: 1.0}", "has no region 'mouth'"),
    ],
)
def test_config_words(train, word, expected):
    assert expected in train("thvqvae", word).error


def test_presets(train, out):
    assert "there are: " in train("thvqvae", "--config", "huge").error
    assert "does not exist" in train("thvqvae", "--config", "huge.yaml").error
    assert not out.exists()


def test_unknown_speech_encoder(train, out):
    assert "did you mean 'logmel'?" in train("dee", "speech=logmell").error
    assert not out.exists()


def test_talker_without_parents(train, chain, out):
    speech = "speech=logmel+prosody"
    assert "give --thvqvae and --dee" in train("talker", speech).error
    assert "give --dee," in train("talker", speech, "--thvqvae", chain.out / "thvqvae").error
    parents = ("--thvqvae", chain.out / "dee", "--dee", chain.out / "dee")
    assert "holds dee, expected thvqvae" in train("talker", speech, *parents).error
    parents = ("--thvqvae", chain.out, "--dee", chain.out / "dee")
    assert "is not a trained thvqvae" in train("talker", speech, *parents).error
    assert not out.exists()


def test_talker_on_other_speech_than_its_dee(train, chain, out):
    error = train("talker", "speech=logmel", "--thvqvae", chain.out / "thvqvae", "--dee", chain.out / "dee").error
    assert "dee on logmel+prosody" in error
    assert not out.exists()


def test_talker_on_a_damaged_parent(train, chain, out, tmp_path):
    damaged = shutil.copytree(chain.out / "thvqvae" / "model", tmp_path / "damaged")
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    error = train("talker", "speech=logmel+prosody", "--thvqvae", damaged, "--dee", chain.out / "dee").error
    assert str(weights) in error
    assert not out.exists()


def test_corpus_folder_that_is_no_corpus(deeptalk, chain, tmp_path, out):
    for folder in (tmp_path, tmp_path / "nowhere", chain.out):
        error = deeptalk("train", "thvqvae", "--corpus", folder, "--out", out).error
        assert f"{folder} is not a corpus" in error
        assert "deeptalk corpus build" in error
    assert not out.exists()


def test_run_folder_of_another_run(deeptalk, chain):
    weights = chain.out / "thvqvae" / "model" / "model.safetensors"
    before = weights.read_bytes()
    words = [word for word in WORDS["thvqvae"] if "max_epochs" not in word]
    folder = ("--corpus", chain.corpus, "--out", chain.out / "thvqvae")
    error = deeptalk("train", "thvqvae", *folder, "trainer.max_epochs=9", *words).error
    assert "holds another run (now: max_epochs: 9" in error
    assert weights.read_bytes() == before


def test_corpus_build(deeptalk, chain, out, tmp_path):
    def build(folder, *words):
        return deeptalk("corpus", "build", "--out", folder, *words).error

    assert "Did you mean 'speech'?" in build(out, "spech=demo")
    assert "'radio'" in build(out, "speech=radio")
    assert "train_performances is 0" in build(out, "train_performances=0")
    assert "another config" in build(chain.corpus, "seed=99")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    assert "will not be replaced" in build(tmp_path / "mine", "max_clips_per_split=1")
    assert not out.exists()
    assert (tmp_path / "mine" / "diary.txt").exists()


def test_benchmark(deeptalk, chain, out):
    def run(emotalk, *words):
        systems = ("--emotalk", chain.out / emotalk, "--bundle", chain.bundle)
        return deeptalk("benchmark", "--corpus", chain.corpus, *systems, "--out", out, *words).error

    assert "holds dee, expected emotalk" in run("dee")
    assert "takes is 1;" in run("emotalk", "takes=1")
    assert "more reference draws" in run("emotalk", "takes=12")
    assert "the systems are: DEEPTalk, EmoTalk" in run("emotalk", "takes=2", "compare_with=EmoTlk")
    assert not out.exists()


def test_demo_refuses_a_bad_recording_before_any_work(deeptalk, out, tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    for name, words in (("missing.wav", "does not exist"), ("text.wav", "is not audio")):
        assert words in deeptalk("demo", "--wav", tmp_path / name, "--out", out).error
        assert not out.exists()
    assert "Invalid value for '--seed'" in deeptalk("demo", "--seed", -1, "--out", out).stderr
    assert not out.exists()


# The same through processes of their own: what the in-process command cannot show is the real exit.


def test_real_processes(deeptalk_process, chain, tmp_path):
    missing = deeptalk_process("sample", tmp_path / "missing.wav", "--bundle", chain.bundle)
    assert "does not exist" in missing.error
    assert missing.stdout == ""
    assert len(missing.stderr.splitlines()) == 1
    assert "Did you mean 'seed'?" in deeptalk_process("corpus", "build", "--out", tmp_path / "out", "sed=3").error
    assert list(tmp_path.iterdir()) == []
