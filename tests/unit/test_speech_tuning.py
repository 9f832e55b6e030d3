"""Last blocks of a speech encoder trained with DEE: gradients, saving, and equality with kept features."""

import importlib

import pytest
import torch
from corpus_samples import write_corpus
from tiny_speech import BLOCKS_WITH_NORM_FIRST, NAMES, write_selfsupervised, write_tiny, write_whisper

from dee import DEE
from deeptalk.bundle import read_part, tuned_speech, weights_sha256, write_bundle
from deeptalk.corpus import ClipWindows, ClipWindowsConfig, FeatureStore
from deeptalk.errors import UserError
from deeptalk.speech import TunedFeatures, build_encoder, pad_waveforms, with_tuned
from deeptalk.stages import train_stage
from deeptalk.training import read_history

KINDS = ["whisper", "wav2vec2", "hubert", "wavlm", "emotion2vec"]
SHORT = [
    *("trainer.loggers=[csv]", "trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.log_every_steps=1"),
    *("data.batch_size=8", "data.samples_per_epoch=16", "data.min_seconds=0.4"),
    *("model.motion_encoder.width=16", "model.speech_encoder.width=16", "model.embedding_size=8"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "c")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return write_whisper(tmp_path_factory.mktemp("whisper") / "w", positions=40)


@pytest.fixture(scope="module")
def tuned_run(corpus, whisper, tmp_path_factory):
    """A run of DEE with the last block of a Whisper trained, fast enough to see it."""
    out = tmp_path_factory.mktemp("runs") / "dee"
    words = [*SHORT, "speech=whisper:1s+logmel", "trained_blocks=1", "training.speech_learning_rate=0.01"]
    train_stage("dee", [corpus.folder], out, "tiny", words, speech_source=str(whisper), progress=False)
    return out


def batch_of(corpus, encoder, folder, **config):
    store = FeatureStore.build(corpus, encoder, storage="float32", cache_folder=folder)
    settings = ClipWindowsConfig(batch_size=6, samples_per_epoch=6, min_seconds=0.4, max_seconds=1.0, **config)
    return next(iter(ClipWindows(corpus, store, settings, waveforms=True).train_dataloader()))


@pytest.mark.parametrize("kind", KINDS)
def test_untouched_weights_give_the_features_that_are_kept(kind, corpus, tmp_path):
    encoder = build_encoder(f"logmel+{kind}+prosody", write_tiny(tmp_path / "weights", kind))
    batch = batch_of(corpus, encoder, tmp_path / "features")
    assert batch["first_frame"].max() > 0
    assert len(set(batch["lengths"].tolist())) > 1
    features = TunedFeatures(encoder, 1)(batch)
    torch.testing.assert_close(features, batch["features"], atol=5e-5, rtol=0)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_last_blocks_and_nothing_else(kind, count, corpus, tmp_path):
    encoder = build_encoder(f"{kind}+prosody", write_tiny(tmp_path / "weights", kind))
    tuned = TunedFeatures(encoder, count).train()
    tuned(batch_of(corpus, encoder, tmp_path / "features"))[..., :32].square().sum().backward()
    network = encoder.parts()[0]
    free = {id(parameter) for block in network.blocks[-count:] for parameter in block.parameters()}
    assert 0 < len(free) < len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        if id(parameter) in free:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None, name
    assert not any(module.training for module in encoder.modules())
    assert encoder.is_trained
    assert not encoder.parts()[1].is_trained


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_precision_gives_nearly_the_same_in_full(kind, corpus, tmp_path):
    encoder = build_encoder(kind, write_tiny(tmp_path / "weights", kind))
    batch = batch_of(corpus, encoder, tmp_path / "features")
    tuned = TunedFeatures(encoder, 1)
    with torch.autocast("cpu", torch.bfloat16):
        features = tuned(batch)
    assert features.dtype == torch.float32
    assert (features - batch["features"]).square().mean() < 0.01 * batch["features"].square().mean()
    features.square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in tuned.network.blocks[-1].parameters())


@pytest.mark.parametrize("kind", ["whisper", "hubert"])
def test_padding_and_batch_mates_change_nothing(kind, corpus, tmp_path):
    encoder = build_encoder(kind, write_tiny(tmp_path / "weights", kind))
    batch = batch_of(corpus, encoder, tmp_path / "features")
    tuned = TunedFeatures(encoder, 1)
    features = tuned(batch)
    longer = {**batch, "waveform": torch.nn.functional.pad(batch["waveform"], (0, 3000), value=9.0)}
    torch.testing.assert_close(tuned(longer), features, atol=2e-5, rtol=0)
    for row in range(3):
        alone = {name: values[row : row + 1] for name, values in batch.items()}
        torch.testing.assert_close(tuned(alone)[0], features[row], atol=5e-5, rtol=0)


def step(encoder, corpus, folder):
    """One step of Adam on the last block, of a size that shows."""
    tuned = TunedFeatures(encoder, 1)
    batch = batch_of(corpus, encoder, folder)
    optimizer = torch.optim.Adam([weight for weight in tuned.parameters() if weight.requires_grad], lr=0.05)
    tuned(batch).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("name", [*KINDS, "wav2vec2:L2", "whisper:1s"])
@pytest.mark.parametrize("large", [False, True])
def test_a_tuned_encoder_is_read_back_as_it_was(name, large, corpus, tmp_path):
    kind = name.partition(":")[0]
    if large and kind not in NAMES:
        pytest.skip("comes in one layout only")
    folder = tmp_path / "weights"
    if large:
        write_selfsupervised(folder, kind, **BLOCKS_WITH_NORM_FIRST)
    else:
        write_tiny(folder, kind)
    encoder = build_encoder(name, folder)
    before = encoder.cache_key()
    step(encoder, corpus, tmp_path / "features")
    encoder.save_pretrained(tmp_path / "tuned")
    again = build_encoder(name, tmp_path / "tuned")
    assert again.cache_key() == encoder.cache_key() != before
    inputs = pad_waveforms([corpus.waveform(0), corpus.waveform(1)[:9000]])
    encoder.network.requires_grad_(False)
    assert torch.equal(again(*inputs)[0], encoder(*inputs)[0])
    again.save_pretrained(tmp_path / "tuned")  # replaced as a whole
    assert build_encoder(name, tmp_path / "tuned").cache_key() == again.cache_key()


@pytest.mark.parametrize("kind", ["whisper", "wav2vec2", "wavlm"])
def test_transformers_reads_a_tuned_encoder(kind, corpus, tmp_path):
    encoder = build_encoder(kind, write_tiny(tmp_path / "weights", kind))
    step(encoder, corpus, tmp_path / "features")
    encoder.save_pretrained(tmp_path / "tuned")
    module = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
    name = "WhisperEncoder" if kind == "whisper" else f"{NAMES[kind]}Model"
    theirs = getattr(module, name).from_pretrained(tmp_path / "tuned").eval()
    with torch.no_grad():
        if kind == "whisper":
            mel = torch.randn(1, 80, 3000)
            expected = theirs(mel).last_hidden_state
            torch.testing.assert_close(encoder.network(mel, torch.tensor([3000])), expected, atol=1e-4, rtol=1e-4)
        else:
            samples = torch.from_numpy(corpus.waveform(0))
            normal = (samples - samples.mean()) / samples.var(correction=0).add(1e-7).sqrt()
            expected = theirs(normal[None]).last_hidden_state
            local = encoder.local_frames(samples, len(samples))[None]
            torch.testing.assert_close(
                encoder.contextual(local, torch.tensor([local.shape[1]])), expected, atol=1e-4, rtol=1e-4
            )


def test_whispers_key_bias_stays_zero(corpus, whisper, tmp_path):
    encoder = build_encoder("whisper", whisper)
    for _ in range(3):
        step(encoder, corpus, tmp_path / "features")
    query, key, value = encoder.blocks[-1].attention_in.bias.chunk(3)
    assert not key.any()
    assert query.abs().min() > 0
    assert value.abs().min() > 0


def test_which_network_is_trained_is_said_or_asked_for(tmp_path):
    sources = {kind: write_tiny(tmp_path / kind, kind) for kind in ("whisper", "wavlm")}
    stack = build_encoder("whisper:2s+wavlm+prosody", sources)
    assert TunedFeatures(stack, 1, reads="wavlm").network is stack.parts()[1]
    assert TunedFeatures(stack, 1, reads="wavlm").first_column == 32
    assert not stack.parts()[0].is_trained
    for encoder, reads, words in (
        (stack, "", "has whisper:2s and wavlm. Name one of"),
        (stack, "prosody", "has none that 'prosody' names"),
        (build_encoder("logmel+prosody"), "", "has none. Name one of whisper, wav2vec2"),
    ):
        with pytest.raises(UserError, match=words):
            TunedFeatures(encoder, 1, reads)
    with pytest.raises(UserError, match="wavlm has 3 blocks, 4 of which cannot be trained"):
        TunedFeatures(build_encoder("wavlm", sources["wavlm"]), 4)


def test_a_stage_at_no_learning_rate_of_the_speech_equals_the_frozen_one(corpus, whisper, tmp_path):
    words = [*SHORT, "speech=whisper+logmel", "training.final_learning_rate=1e-12"]
    runs = {"frozen": [], "tuned": ["trained_blocks=2", "training.speech_learning_rate=1e-12"]}
    for name, more in runs.items():
        train_stage("dee", [corpus.folder], tmp_path / name, "tiny", [*words, *more], None, whisper, progress=False)
    frozen, tuned = (read_history(tmp_path / name) for name in runs)
    for quantity in ("train/loss", "val/loss", "train/match"):
        steps, values = zip(*frozen[quantity])
        assert steps == tuple(at for at, _ in tuned[quantity])
        torch.testing.assert_close(torch.tensor(values), torch.tensor([at for _, at in tuned[quantity]]), atol=5e-3,
                                   rtol=5e-3)  # fmt: skip


def test_a_stage_trains_the_block_and_keeps_the_encoder(corpus, whisper, tuned_run):
    before = build_encoder("whisper:1s", whisper)
    after = build_encoder("whisper:1s", tuned_run)  # finds runs/dee/speech
    changed = {
        name.split(".")[1]
        for name, value in after.network.state_dict().items()
        if not torch.equal(value, before.network.state_dict()[name])
    }
    assert changed == {"1"}  # layers.1 of two
    part, speech = read_part(tuned_run / "model", "dee"), read_part(tuned_run / "speech", "speech")
    stack = build_encoder("whisper:1s+logmel", tuned_run)
    assert part.speech == speech.speech
    assert part.speech.cache_key == stack.cache_key()
    assert part.parents == {"speech": weights_sha256(tuned_run / "speech")}
    assert tuned_speech(tuned_run / "model") == (tuned_run / "speech").resolve()
    state = torch.load(tuned_run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert any(name.startswith("speech.network.network.layers.1.") for name in state)


@pytest.mark.parametrize("name", ["wav2vec2:L2", "hubert:1s", "wavlm", "emotion2vec"])
def test_every_encoder_can_be_named_for_a_stage(name, corpus, tmp_path):
    kind = name.partition(":")[0]
    weights = write_tiny(tmp_path / "weights", kind)
    words = [*SHORT, f"speech={name}+logmel", "trainer.max_epochs=1", "data.samples_per_epoch=8", f"reads={name}"]
    words += ["trained_blocks=1"] if kind == "emotion2vec" else []
    train_stage("dee", [corpus.folder], tmp_path / "dee", "tiny", words, None, {kind: weights}, progress=False)
    part = read_part(tmp_path / "dee" / "model", "dee")
    assert (part.speech.name, part.speech.feature_size) == (f"{name}+logmel", 112)
    assert ("speech" in part.parents) == (kind == "emotion2vec")


def test_a_stage_at_its_end_started_again_changes_nothing(corpus, whisper, tuned_run):
    files = [tuned_run / "model" / "model.safetensors", tuned_run / "speech" / "model.safetensors"]
    before = [file.read_bytes() for file in files]
    words = [*SHORT, "speech=whisper:1s+logmel", "trained_blocks=1", "training.speech_learning_rate=0.01"]
    train_stage("dee", [corpus.folder], tuned_run, "tiny", words, speech_source=str(whisper), progress=False)
    assert [file.read_bytes() for file in files] == before


def test_a_tuned_encoder_that_is_gone_or_another_is_refused(tuned_run, whisper, tmp_path):
    import shutil

    shutil.copytree(tuned_run / "model", tmp_path / "model")
    with pytest.raises(UserError, match=r"trained together with its speech encoder, which belongs in .*speech"):
        tuned_speech(tmp_path / "model")
    shutil.copytree(tuned_run / "speech", tmp_path / "speech")
    shutil.copy(whisper / "model.safetensors", tmp_path / "speech" / "model.safetensors")
    with pytest.raises(UserError, match="dee was trained on a speech with other weights"):
        tuned_speech(tmp_path / "model")


def test_a_bundle_of_a_tuned_dee_needs_its_encoder(tuned_run, tmp_path):
    with pytest.raises(UserError, match="These parts lack the part speech, the speech encoder that was trained with"):
        write_bundle(tmp_path / "bundle", {"dee": tuned_run / "model"})
    write_bundle(tmp_path / "bundle", {"dee": tuned_run / "model", "speech": tuned_run / "speech"})
    assert tuned_speech(tmp_path / "bundle" / "dee") == (tmp_path / "bundle" / "speech").resolve()
    stack = build_encoder("whisper:1s+logmel", source=tmp_path / "bundle")
    assert stack.cache_key() == read_part(tmp_path / "bundle" / "dee", "dee").speech.cache_key


def test_dee_embeds_waveforms_with_the_tuned_encoder(corpus, tuned_run):
    dee = DEE.from_pretrained(tuned_run / "model", speech=build_encoder("whisper:1s+logmel", source=tuned_run))
    inputs = pad_waveforms([corpus.waveform(0), corpus.waveform(3)])
    features, lengths = dee.speech(*inputs)
    assert torch.equal(dee.embed_waveform(*inputs).mean, dee.embed_speech(features, lengths).mean)
    assert not any(name.startswith("speech.") for name in dee.state_dict())


def test_sources_beside_a_tuned_encoder(tuned_run):
    tuned = tuned_speech(tuned_run / "model")
    assert with_tuned("whisper:1s+logmel", None, tuned) == {"whisper": tuned}
    assert with_tuned("whisper:1s+hubert", {"hubert": "x/y"}, tuned) == {"whisper": tuned, "hubert": "x/y"}
    assert with_tuned("whisper:1s", "elsewhere", tuned) == {"whisper": "elsewhere"}
    assert with_tuned("whisper", "elsewhere", None) == "elsewhere"
    assert with_tuned("logmel", None, tuned) is None


def test_a_talker_of_another_encoder_than_the_tuned_one_is_refused(corpus, tuned_run, tmp_path):
    train_stage("thvqvae", [corpus.folder], tmp_path / "prior", "tiny", ["trainer.max_epochs=1", *SHORT[:1]], None,
                progress=False)  # fmt: skip
    parents = {"thvqvae": tmp_path / "prior", "dee": tuned_run}
    with pytest.raises(UserError, match=r"speech features logmel \(80 channels.* on whisper:1s\+logmel \(112 channels"):
        train_stage("talker", [corpus.folder], tmp_path / "talker", "tiny", ["speech=logmel"], parents, progress=False)


def test_a_speech_learning_rate_below_the_last_one_is_refused(corpus, whisper, tmp_path):
    words = [*SHORT, "speech=whisper", "trained_blocks=1", "training.speech_learning_rate=1e-7"]
    with pytest.raises(ValueError, match="speech_learning_rate 1e-07 is below final_learning_rate 1e-06"):
        train_stage("dee", [corpus.folder], tmp_path / "dee", "tiny", words, None, whisper, progress=False)
