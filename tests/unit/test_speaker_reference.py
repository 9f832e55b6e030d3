"""Hearing speech relative to its speaker: offsets, training clips, and takes."""

import json

import numpy as np
import pytest
import soundfile
import torch
from corpus_samples import write_corpus
from test_pipeline_perform import motions
from test_speech_prosody import voice
from tiny_talker import write_tiny_parts

from dee import DEE
from deeptalk import cli
from deeptalk.bundle import read_part, write_bundle
from deeptalk.corpus import ClipWindows, ClipWindowsConfig, CorpusWriter, FeatureStore, speaker_offsets
from deeptalk.emotion_request import read_request
from deeptalk.emotion_source import EmotionSource
from deeptalk.errors import UserError
from deeptalk.pipeline import load
from deeptalk.speech import build_encoder, check_samples, pad_waveforms, prosody_columns, speaker_offset
from deeptalk.speech.prosody import NORMALISED, VOICED, VOICING
from deeptalk.stages import train_stage
from deeptalk.take import Take

STACK = "logmel+prosody"
CLIPS = {  # name: speaker, emotion, pitch, whether a room was put on it
    "ann-plain-1": ("ann", 0, 110.0, False),
    "ann-plain-2": ("ann", 0, 140.0, False),
    "ann-room": ("ann", 0, 300.0, True),
    "ann-happy": ("ann", 2, 220.0, False),
    "bob-plain": ("bob", 0, 90.0, False),
    "bob-angry": ("bob", 4, 180.0, False),
    "cat-sad": ("cat", 3, 250.0, False),
}


def syllables(hertz, seconds=2.0):
    times = np.arange(round(seconds * 16000)) / 16000
    return (voice(hertz, seconds) * (0.55 - 0.45 * np.cos(2 * np.pi * 4 * times))).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    with CorpusWriter(tmp_path_factory.mktemp("corpus") / "c", provenance="made for a test", license="CC0") as writer:
        for split in ("train", "val"):
            for name, (speaker, emotion, hertz, room) in CLIPS.items():
                speech = writer.add_speech(
                    f"{split}-{name}",
                    syllables(hertz),
                    speaker=f"{split}-{speaker}",
                    sentence=f"{split}-s1",
                    split=split,
                    emotion=emotion,
                    origin={"augmentation": {"seed": 1}} if room else {"engine": "none"},
                )
                motion = np.full((50, 52), 0.1 * emotion, np.float32)
                motion[:, 24] = np.linspace(0, 1, 50)
                intensity = 0.8 if emotion else 0.0
                writer.add_performance(f"{split}-{name}/0", motion, speech=speech, emotion=emotion, intensity=intensity)
    return writer.corpus


@pytest.fixture(scope="module")
def store(corpus):
    return FeatureStore.build(corpus, build_encoder(STACK), storage="float32")


@pytest.fixture(scope="module")
def offsets(corpus, store):
    prosody = prosody_columns(build_encoder(STACK))
    return {k: v for split in ("train", "val") for k, v in speaker_offsets(corpus, store, prosody, split).items()}


def test_what_is_taken_off_is_the_mean_of_the_voiced_frames():
    encoder = build_encoder("prosody+logmel")
    recordings = [check_samples(syllables(110.0), 16000), syllables(120.0, 3.0)]
    offset = speaker_offset(encoder, iter(recordings))
    heard = torch.cat([encoder(*pad_waveforms([one]))[0][0] for one in recordings]).numpy()
    voiced = (heard - offset)[heard[:, VOICING] >= VOICED]
    np.testing.assert_allclose(voiced[:, list(NORMALISED)].mean(axis=0), 0, atol=1e-4)
    assert not offset[[VOICING, *range(7, 87)]].any()
    np.testing.assert_allclose(speaker_offset(encoder, recordings[::-1]), offset, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recordings", [[], [np.zeros(32000, np.float32)], [voice(120.0, 0.5)]])
def test_a_reference_without_enough_speech_is_said_so(recordings):
    with pytest.raises(UserError, match=r"of voiced speech in .* at least 1 s"):
        speaker_offset(build_encoder("prosody"), recordings)


def test_an_encoder_without_prosody_says_so():
    with pytest.raises(UserError, match=r"'logmel' has no prosody.*leave the speaker reference out"):
        speaker_offset(build_encoder("logmel"), [voice(120.0)])


def test_a_corpus_gives_what_the_speakers_other_plain_recordings_would(corpus, offsets):
    encoder = build_encoder(STACK)
    named = {corpus.speech[index].speech_id: offset for index, offset in offsets.items()}
    # not the changed recording, and nobody without another plain one
    heard = {
        "ann-plain-1": ["ann-plain-2"],
        "ann-plain-2": ["ann-plain-1"],
        "ann-happy": ["ann-plain-1", "ann-plain-2"],
        "bob-angry": ["bob-plain"],
    }
    places = {corpus.speech[index].speech_id: index for index in range(len(corpus.speech))}
    assert set(named) == {f"{split}-{name}" for split in ("train", "val") for name in heard}
    for name, others in heard.items():
        expected = speaker_offset(encoder, [corpus.waveform(places[f"train-{other}"]) for other in others])
        np.testing.assert_allclose(named[f"train-{name}"], expected, rtol=1e-4, atol=1e-4)


def test_speakers_without_a_name_are_nobody_and_other_splits_no_reference(tmp_path):
    with CorpusWriter(tmp_path / "c", provenance="made for a test", license="CC0") as writer:
        for name, speaker, split, hertz in (
            *(("nobody-1", "", "train", 100.0), ("nobody-2", "", "train", 300.0)),
            *(("dan-train", "dan", "train", 150.0), ("dan-test", "dan", "test", 250.0)),
        ):
            writer.add_speech(name, syllables(hertz), speaker=speaker, sentence=name, split=split, emotion=0)
    encoder = build_encoder("prosody")
    store = FeatureStore.build(writer.corpus, encoder)
    for split in ("train", "test"):
        assert speaker_offsets(writer.corpus, store, prosody_columns(encoder), split) == {}


def test_a_corpus_without_plain_speech_says_so(corpus, store, offsets, tmp_path):
    noise = write_corpus(tmp_path / "c")  # no voiced frame
    encoder = build_encoder(STACK)
    features = FeatureStore.build(noise, encoder)
    none = speaker_offsets(noise, features, prosody_columns(encoder), "train")
    val_only = {index: own for index, own in offsets.items() if corpus.speech[index].split == "val"}
    for data in ((noise, features, none), (corpus, store, val_only), (corpus, store, None)):
        with pytest.raises(UserError, match=r"centred_share is 0.5, but no speech of .* Set it to 0, or add some"):
            ClipWindows(data[0], data[1], ClipWindowsConfig(centred_share=0.5), offsets=data[2])


def test_a_share_of_the_clips_is_centred(corpus, store, offsets):
    def data(share):
        return ClipWindows(corpus, store, ClipWindowsConfig(centred_share=share), offsets=offsets)

    half, never, always = data(0.5), data(0.0), data(1.0)
    for side in ("train_data", "val_data"):
        centred = 0
        some, none, every = (getattr(one, side) for one in (half, never, always))
        for index in range(len(some)):
            for seed in range(40):
                item, plain, moved = (one[index, seed] for one in (some, none, every))
                offset = torch.from_numpy(offsets.get(int(item["speech"]), np.zeros(87, np.float32)))
                assert torch.equal(plain["features"] - offset, moved["features"])
                assert any(torch.equal(item["features"], other["features"]) for other in (plain, moved))
                assert torch.equal(item["motion"], plain["motion"])
                centred += bool(offset.any()) and torch.equal(item["features"], moved["features"])
                assert torch.equal(item["features"], some[index, seed]["features"])
        assert 0.4 < centred / (4 * 40) < 0.6  # four of the seven clips can be


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"centred_share": 1.5}, "centred_share is 1.5; expected a number from 0 to 1"),
        ({"centred_share": 0.5, "frame_multiple": 4}, "leave centred_share to DEE"),
    ],
)
def test_shares_that_make_no_sense(settings, message):
    with pytest.raises(UserError, match=message):
        ClipWindowsConfig(**settings)


WORDS = ["trainer.loggers=[csv]", "trainer.max_epochs=1", "data.samples_per_epoch=8", "data.batch_size=4"]


def test_the_stage_trains_on_centred_clips_and_says_what_it_needs(corpus, tmp_path):
    def train(name, *words):
        words = [*WORDS, *words]
        return train_stage("dee", [corpus.folder], tmp_path / name, "tiny", words, progress=False)

    train("plain", f"speech={STACK}")
    train("centred", f"speech={STACK}", "data.centred_share=1.0")
    plain, centred = (DEE.from_pretrained(tmp_path / name / "model") for name in ("plain", "centred"))
    differs = [not torch.equal(a, b) for a, b in zip(plain.parameters(), centred.parameters())]
    assert any(differs)
    assert read_part(tmp_path / "centred" / "model", "dee").config["data"]["centred_share"] == 1.0
    with pytest.raises(UserError, match=r"'logmel' has no prosody.*in training, data.centred_share=0"):
        train("deaf", "speech=logmel", "data.centred_share=0.5")
    with pytest.raises(UserError, match=r"centred_share is 0.5, but DEE reads 'logmel' alone.*reads=prosody"):
        train("turned", f"speech={STACK}", "reads=logmel", "data.centred_share=0.5")


@pytest.fixture(scope="module")
def talkers(tmp_path_factory):
    folder, key = tmp_path_factory.mktemp("made"), build_encoder(STACK).cache_key()
    made = []
    for name, share in (("centred", 0.5), ("plain", 0.0)):
        parts = write_tiny_parts(folder / name, key, STACK, 87, {"data": {"centred_share": share}})
        made.append(load(write_bundle(folder / name / "bundle", parts), device="cpu"))
    return made


SPEECH = (syllables(180.0, 1.5), 16000)
REFERENCE = [(syllables(100.0), 16000), (syllables(120.0), 16000)]


def test_dee_hears_the_speech_relative_to_the_reference(talkers):
    talker = talkers[0]
    waveform = check_samples(*SPEECH)
    features, lengths = talker.encoder(*pad_waveforms([waveform]))
    with torch.no_grad():
        request = read_request(speaker_reference=REFERENCE)
        source = EmotionSource(request, talker.bundle, talker.encoder, talker.device)
        heard = source.gaussian(features, lengths, waveform.seconds)
        offset = speaker_offset(talker.encoder, [samples for samples, _ in REFERENCE])
        expected = talker.bundle.dee.embed_speech(features - torch.from_numpy(offset), lengths)
        plain = talker.bundle.dee.embed_speech(features, lengths)
    torch.testing.assert_close(heard.mean, expected.mean)
    torch.testing.assert_close(heard.log_variance, expected.log_variance)
    assert not torch.allclose(heard.mean, plain.mean, atol=1e-3)


def test_takes_with_a_reference_repeat_and_say_so(talkers):
    talker = talkers[0]
    takes = talker.perform(SPEECH, takes=2, speaker_reference=REFERENCE)
    assert motions(talker.perform(SPEECH, takes=2, speaker_reference=REFERENCE[::-1])) == motions(takes)
    assert motions(talker.perform(SPEECH, takes=2)) != motions(takes)
    entries = json.loads(json.dumps(takes[0].recipe))["speaker_reference"]
    assert [len(entry["sha256"]) for entry in entries] == [64, 64]
    assert talker.perform(SPEECH, takes=1)[0].recipe["speaker_reference"] is None
    half = talker.perform(SPEECH, takes=1, speaker_reference=REFERENCE, emotion="happy", emotion_weight=0.5)
    assert motions(half) != motions(talker.perform(SPEECH, takes=1, emotion="happy", emotion_weight=0.5))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"speaker_reference": []}, "speaker_reference is empty"),
        ({"speaker_reference": (np.zeros(32000, np.float32), 16000)}, "of voiced speech in 1 recording; expected"),
        ({"speaker_reference": REFERENCE, "emotion": "happy"}, "another is asked for; leave one of them out"),
        (
            {"speaker_reference": (np.zeros((2, 2, 2), np.float32), 16000)},
            r"The speaker reference cannot be used\. The samples have shape",
        ),
    ],
)
def test_references_that_cannot_be_used(talkers, asked, message):
    with pytest.raises(UserError, match=message):
        talkers[0].perform(SPEECH, **asked)


def test_the_command_line_hands_the_reference_on(talkers, tmp_path):
    for name, (samples, rate) in (("said", SPEECH), ("plain", REFERENCE[0])):
        soundfile.write(tmp_path / f"{name}.wav", samples, rate, subtype="FLOAT")
    words = ["sample", tmp_path / "said.wav", "--speaker-reference", tmp_path / "plain.wav", "--takes", "1"]
    words += ["--format", "npz", "--no-idle", "--bundle", talkers[0].bundle.folder, "--out", tmp_path / "takes"]
    assert cli.app([str(word) for word in words], standalone_mode=False) is None
    take = Take.load(tmp_path / "takes" / "said_take1.npz")
    assert [entry["name"] for entry in take.recipe["speaker_reference"]] == ["plain.wav"]
    expected = talkers[0].perform(tmp_path / "said.wav", takes=1, speaker_reference=tmp_path / "plain.wav")
    assert motions([take]) == motions(expected)


def test_a_bundle_that_was_not_trained_so_says_so(talkers):
    with pytest.raises(UserError, match=r"not trained to hear speech relative to its speaker.*centred_share=0.5"):
        talkers[1].perform(SPEECH, speaker_reference=REFERENCE)
