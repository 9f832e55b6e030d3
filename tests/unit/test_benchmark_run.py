import dataclasses
import json

import numpy as np
import pytest
import torch
from rich.console import Console

from deeptalk.baselines import EmoTalk, EmoTalkConfig, MeanFace, MotionNoise
from deeptalk.benchmark import (
    METRICS,
    STANDARD_NAMES,
    BenchmarkConfig,
    EmoTalkSystem,
    FaceMeasures,
    MeanFaceSystem,
    NoisyEmoTalkSystem,
    System,
    TruePerformance,
    benchmark_clips,
    run_benchmark,
    standard_systems,
)
from deeptalk.benchmark.run import clip_seed
from deeptalk.benchmark.systems import choose_level
from deeptalk.config import compose
from deeptalk.corpus import Corpus, CorpusWriter
from deeptalk.errors import UserError
from deeptalk.face import CHANNELS, load_rig
from deeptalk.speech import build_encoder, frame_count
from deeptalk.take import Take

JAW, SMILE, BLINK = CHANNELS.index("jawOpen"), CHANNELS.index("mouthSmileLeft"), CHANNELS.index("eyeBlinkLeft")
LIMITS = load_rig("arkit").limits
CONFIG = BenchmarkConfig(takes=8, resamples=100, seed=1)


def draws(rng: np.random.Generator, frames: int, count: int, size: float = 0.2) -> np.ndarray:
    """The truth of these tests: jaw and smile around a smooth curve, each draw with offsets of its own."""
    motion = np.zeros((count, frames, 52), np.float32)
    motion[..., JAW] = 0.4 + 0.2 * np.sin(np.arange(frames) / 3) + size * rng.standard_normal((count, 1))
    motion[..., SMILE] = 0.3 + size * rng.standard_normal((count, 1))
    return motion


@pytest.fixture(scope="module")
def encoder():
    return build_encoder("logmel")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    rng = np.random.default_rng(0)
    with CorpusWriter(tmp_path_factory.mktemp("benchmark") / "corpus", provenance="test", license="CC0-1.0") as writer:
        for split, clips in (("train", 4), ("val", 6), ("test", 5)):
            for clip in range(clips):
                samples = int(rng.integers(9000, 14000))
                speech = writer.add_speech(
                    f"{split}-{clip}",
                    (0.1 * rng.standard_normal(samples)).astype(np.float32),
                    speaker=f"{split}-speaker",
                    sentence=f"{split}-{clip}",
                    split=split,
                    emotion=clip % 8,
                )
                frames = frame_count(samples)
                for given in ("speech", "speech+label+speaker")[: 2 if split == "test" else 1]:
                    for i, motion in enumerate(draws(rng, frames, 12)):
                        writer.add_performance(
                            f"{split}-{clip}/{given}/{i}",
                            motion,
                            speech=speech,
                            emotion=3,
                            intensity=1.0,
                            given=given,
                        )
    assert writer.corpus is not None
    return writer.corpus


def emotalk(features: int) -> EmoTalk:
    torch.manual_seed(0)
    sizes = {"encoder_size": 16, "encoder_layers": 1, "encoder_heads": 2, "encoder_feedforward": 16}
    widths = {"content_size": 8, "emotion_size": 8, "level_size": 4, "person_size": 4, "decoder_feedforward": 8}
    model = EmoTalk(EmoTalkConfig(speech_features=features, people=1, **sizes, **widths)).eval()
    torch.nn.init.normal_(model.decoder.output.weight, std=0.02)
    return model


class Drawing:
    """A system that draws from the truth of these tests, with draws of another size."""

    reads = "features"

    def __init__(self, name: str, size: float):
        self.name, self.size = name, size

    def perform(self, clip, takes, seed):
        return draws(np.random.default_rng(seed), clip.frame_count, takes, self.size)


class Talker:
    """Performs as `deeptalk.pipeline.Talker` does."""

    def perform(self, speech, takes, seed, **label):
        self.label = label
        motions = draws(np.random.default_rng(seed), frame_count(len(speech[0])), takes)
        return [Take(motion) for motion in motions]


@pytest.fixture(scope="module")
def report(corpus, encoder):
    talker, store = Talker(), corpus.features(encoder)
    systems = standard_systems(corpus, store, encoder, talker, emotalk(encoder.feature_size), ["train-speaker"], CONFIG)
    assert all(isinstance(system, System) for system in systems)
    config = BenchmarkConfig(takes=8, resamples=100, seed=1, compare_with="EmoTalk")
    return run_benchmark(systems, corpus, encoder, config, origins={"noise_scale": 0.5})


def test_references_and_held_out_draws_share_nothing(corpus, encoder):
    clips = benchmark_clips(corpus, encoder, held_out=4)
    assert [clip.speech_id for clip in clips] == [f"test-{i}" for i in range(5)]
    for index, clip in zip(corpus.speech_in("test"), clips):
        own = np.stack([corpus.motion(i) for i in corpus.performances_of(index, "speech")])
        np.testing.assert_array_equal(np.concatenate([clip.references, clip.held_out]), own)
        assert (len(clip.references), len(clip.held_out)) == (8, 4)
        assert clip.features.shape == (clip.frame_count, encoder.feature_size)
        assert clip.feature_seconds > 0
        assert clip.emotion == -1
        assert np.isnan(clip.intensity)


def test_labels_are_handed_out_only_where_they_are_given(corpus, encoder):
    from deeptalk.benchmark import DEEPTalkSystem

    clip = benchmark_clips(corpus, encoder, given="speech+label+speaker", max_clips=1)[0]
    assert (clip.emotion, clip.intensity) == (3, 1.0)
    talker = Talker()
    DEEPTalkSystem(talker).perform(clip, 2, 0)
    assert talker.label == {"emotion": "sad", "intensity": 1.0}
    DEEPTalkSystem(talker).perform(benchmark_clips(corpus, encoder, max_clips=1)[0], 2, 0)
    assert talker.label == {}
    assert EmoTalkSystem(emotalk(encoder.feature_size), ["train-speaker"], LIMITS).controls(clip) == (1, -1)


def test_standard_table(report):
    assert [row.system for row in report.rows] == list(STANDARD_NAMES)
    means = {row.system: {name: interval.mean for name, interval in row.intervals.items()} for row in report.rows}
    for deterministic in ("EmoTalk", "nearest neighbour", "mean face"):
        assert report.row(deterministic).values["diversity"].tolist() == [0.0] * 5
    assert means["EmoTalk + noise"]["diversity"] == pytest.approx(means["DEEPTalk"]["diversity"], rel=0.35)
    assert np.isnan(means["true performance"]["speed"])
    assert all(means[name]["speed"] > 0 for name in means if name != "true performance")
    # The talker of these tests draws from the truth: only the truth may score as low.
    for other in ("EmoTalk", "EmoTalk + noise", "mean face"):
        assert means["DEEPTalk"]["energy_score"] < means[other]["energy_score"]


def test_rows_keep_per_clip_values_and_paired_differences(report):
    for row in report.rows:
        assert set(row.values) == set(METRICS)
        for name, values in row.values.items():
            assert values.shape == (5,)
            np.testing.assert_allclose(row.intervals[name].mean, values.mean())
    emotalk_row, mean_row = report.row("EmoTalk"), report.row("mean face")
    assert emotalk_row.differences == {}
    expected = (mean_row.values["lve"] - emotalk_row.values["lve"]).mean()
    assert mean_row.differences["lve"].mean == pytest.approx(expected)


def test_features_count_towards_the_speed_of_those_who_read_them(report):
    for name, reads_features in (
        ("EmoTalk", True),
        ("nearest neighbour", True),
        ("mean face", False),
        ("DEEPTalk", False),
    ):
        speed, after = (report.row(name).values[metric] for metric in ("speed", "speed_after_features"))
        assert (speed < after).all() if reads_features else (speed == after).all()


def test_report_as_json_markdown_and_table(report, tmp_path):
    report.save_json(tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["settings"]["corpus_hash"] == report.settings["corpus_hash"]
    assert written["settings"]["given"] == "speech"
    assert written["settings"]["origins"] == {"noise_scale": 0.5}
    assert (written["settings"]["voices"], written["settings"]["sentences"]) == (1, 5)
    assert "they are of 1 voice and 5 sentences; one training each" in report.caption()
    assert written["settings"]["versions"]["torch"] == torch.__version__
    assert written["systems"][5]["summary"]["speed"]["mean"] is None
    assert len(written["systems"][0]["per_clip"]["energy_score"]) == 5
    for name, metric in METRICS.items():
        used = "references given='speech'" if metric.uses_references else "uses no references"
        assert used in written["metrics"][name]["definition"]
    report.save_markdown(tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert text.count("| DEEPTalk |") == 3
    assert text.count("| EmoTalk |") == 2
    assert "Paired differences to EmoTalk" in text
    console = Console(width=80, record=True, file=(tmp_path / "null").open("w"))
    console.print(report.table())
    shown = console.export_text()
    for word in ("DEEPTalk", "nearest", "neighbour", "coverage", "diversity,"):  # whole in a narrow terminal
        assert word in shown.split()
    assert "FDD" not in shown
    assert "[95% bootstrap interval]" in " ".join(shown.split())


def test_differences_may_be_to_the_noise(corpus, encoder):
    systems = [Drawing("EmoTalk + noise", 0.5), Drawing("DEEPTalk", 0.2)]
    config = compose(BenchmarkConfig, [], ["compare_with=EmoTalk + noise", "takes=3", "resamples=100", "max_clips=2"])
    noise, deeptalk = run_benchmark(systems, corpus, encoder, config).rows
    expected = (deeptalk.values["energy_score"] - noise.values["energy_score"]).mean()
    assert deeptalk.differences["energy_score"].mean == pytest.approx(expected)
    assert noise.differences == {}


def test_too_wide_and_too_narrow_score_worse_than_the_truth(corpus, encoder):
    systems = [Drawing("true size", 0.2), Drawing("narrow", 0.02), Drawing("wide", 0.8), TruePerformance()]
    report = run_benchmark(systems, corpus, encoder, BenchmarkConfig(takes=4, resamples=100))
    score = {row.system: row.intervals["energy_score"].mean for row in report.rows}
    assert score["true size"] < min(score["narrow"], score["wide"])
    assert score["true performance"] < min(score["narrow"], score["wide"])


def test_same_seed_same_numbers(corpus, encoder):
    def values(seed):
        config = BenchmarkConfig(takes=3, resamples=100, seed=seed, max_clips=2)
        return run_benchmark([Drawing("a", 0.2)], corpus, encoder, config).rows[0].values["energy_score"]

    np.testing.assert_array_equal(values(1), values(1))
    assert (values(1) != values(2)).all()


def test_blinks_and_gaze_are_left_out(corpus, encoder):
    measures = FaceMeasures(load_rig("arkit"))
    clip = benchmark_clips(corpus, encoder, held_out=4, max_clips=1)[0]
    blinking = clip.held_out.copy()
    blinking[..., BLINK] = 1.0
    assert measures.measure(blinking, clip.references) == measures.measure(clip.held_out, clip.references)


def test_equal_takes_are_measured_as_any_other(corpus, encoder):
    """Vertex errors of equal takes are computed once and weighted: the same as computing each."""
    measures = FaceMeasures(load_rig("arkit"))
    clip = benchmark_clips(corpus, encoder, held_out=4, max_clips=1)[0]
    takes = clip.held_out[[0, 0, 0, 1]]
    single = [measures.measure(clip.held_out[[i, i]], clip.references)["lve"] for i in (0, 1)]
    assert measures.measure(takes, clip.references)["lve"] == pytest.approx(0.75 * single[0] + 0.25 * single[1])


def test_emotalk_and_its_noise_stay_within_the_rigs_limits(corpus, encoder):
    model = emotalk(encoder.feature_size)
    torch.nn.init.normal_(model.decoder.output.weight, std=2.0)
    clip = benchmark_clips(corpus, encoder, held_out=4, max_clips=1)[0]
    plain = EmoTalkSystem(model, [], LIMITS)
    noise = MotionNoise(np.full(52, 0.3, np.float32), LIMITS, corpus.frame_rate)
    for system in (plain, NoisyEmoTalkSystem(noise, plain)):
        takes = system.perform(clip, 3, seed=0)
        assert takes.shape == (3, clip.frame_count, 52)
        assert (takes >= LIMITS[:, 0]).all()
        assert (takes <= LIMITS[:, 1]).all()
        assert (takes == LIMITS[:, 0]).any()
        assert (takes == LIMITS[:, 1]).any()


def test_noise_has_the_diversity_of_deeptalk_on_the_validation_clips(corpus, encoder, capsys):
    talker, measures = Talker(), FaceMeasures(load_rig("arkit"))
    model, store = emotalk(encoder.feature_size), corpus.features(encoder)
    deeptalk, _, noisy, *_ = standard_systems(corpus, store, encoder, talker, model, ["train-speaker"], CONFIG, True)
    assert "benchmark: validation" in capsys.readouterr().err
    clips = benchmark_clips(corpus, encoder, split="val", held_out=0)
    wanted = [measures.diversity(deeptalk.perform(c, 8, clip_seed(CONFIG.seed, i))) for i, c in enumerate(clips)]
    got = [measures.diversity(noisy.perform(c, 8, CONFIG.seed + i)) for i, c in enumerate(clips)]
    assert np.mean(got) == pytest.approx(np.mean(wanted), rel=0.01)


def test_level_is_the_one_nearer_to_the_references(corpus, encoder):
    measures, model = FaceMeasures(load_rig("arkit")), emotalk(encoder.feature_size)
    clips = benchmark_clips(corpus, encoder, split="val", held_out=0)
    for level in (0, 1):
        system = EmoTalkSystem(model, [], LIMITS, level)
        near = [dataclasses.replace(clip, references=system.perform(clip, 2, 0)) for clip in clips]
        assert choose_level(model, [], near, measures) == level


class Broken:
    name, reads = "broken", "features"

    def __init__(self, change):
        self.change = change

    def perform(self, clip, takes, seed):
        return self.change(clip.held_out[:takes].copy())


def spoil(motions: np.ndarray) -> np.ndarray:
    motions[0, 0, 0] = np.nan
    return motions


def test_errors_say_what_is_wrong(corpus, encoder):
    with pytest.raises(UserError, match=r"broken gave takes of shape .* for test-0; expected"):
        run_benchmark([Broken(lambda motions: motions[:, 1:])], corpus, encoder, CONFIG)
    with pytest.raises(UserError, match="broken gave values for test-0 that are not finite"):
        run_benchmark([Broken(spoil)], corpus, encoder, CONFIG)
    with pytest.raises(UserError, match="has 12 performances given='speech'; 11 true performances and 2 references"):
        run_benchmark([TruePerformance()], corpus, encoder, BenchmarkConfig(takes=11))
    with pytest.raises(UserError, match="no system to benchmark"):
        run_benchmark([], corpus, encoder, CONFIG)
    with pytest.raises(UserError, match="Two systems are called 'true performance'"):
        run_benchmark([TruePerformance(), TruePerformance()], corpus, encoder, CONFIG)
    with pytest.raises(UserError, match="compare_with is 'EmoTalk'; the systems are: true performance"):
        run_benchmark([TruePerformance()], corpus, encoder, BenchmarkConfig(compare_with="EmoTalk"))
    with pytest.raises(UserError, match="takes is 1"):
        BenchmarkConfig(takes=1)
    with pytest.raises(UserError, match="seed is -1"):
        BenchmarkConfig(seed=-1)
    with pytest.raises(UserError, match="no split 'exam'"):
        benchmark_clips(corpus, encoder, split="exam")


def test_mean_face_learns_from_the_training_split(corpus):
    frames = np.concatenate([corpus.motion(i) for i in corpus.performances_in("train")])
    np.testing.assert_allclose(MeanFace.from_corpus(corpus).mean, frames.mean(0), atol=1e-6)
    assert MeanFaceSystem(MeanFace.from_corpus(corpus)).name == "mean face"
