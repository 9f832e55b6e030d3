"""Corpus, DEE, TH-VQVAE, talker, EmoTalk, takes, benchmark and page in one go: what `deeptalk demo` leaves behind."""

import base64
import itertools
import json
import shutil

import numpy as np
import pytest
from omegaconf import OmegaConf
from smallest_chain import SEED, WORDS, page_data

import deeptalk
from deeptalk.bundle import read_part, weights_sha256
from deeptalk.corpus import Corpus
from deeptalk.demo import run_demo
from deeptalk.export import read_live_link_csv
from deeptalk.speech import frame_count, load_waveform
from deeptalk.stages import part_folder
from deeptalk.take import Take
from deeptalk.training import read_history

pytestmark = pytest.mark.slow
TRAINED = ("thvqvae", "dee", "talker", "emotalk")
LOSSES = {"thvqvae": "loss", "dee": "loss", "talker/stage_1": "loss", "talker/stage_2": "loss", "emotalk": "total"}


def motions(chain, name):
    return [Take.load(chain.out / "takes" / f"{name}_take{number}.npz").motion for number in range(1, 5)]


def test_page_holds_every_scene_with_its_takes(chain):
    scenes = page_data(chain.page)["scenes"]
    titles = ["my voice.wav", "Four takes", "Beside EmoTalk and the truth", "Asked for an emotion"]
    assert [scene["title"] for scene in scenes] == titles
    assert [[take["label"] for take in scene["takes"]] for scene in scenes] == [
        ["take 1", "take 2", "take 3", "take 4"],
        ["take 1", "take 2", "take 3", "take 4"],
        ["DEEPTalk", "EmoTalk", "truth 1", "truth 2"],
        ["happy", "sad", "angry", "surprised"],
    ]
    assert scenes[0]["frames"] == frame_count(len(load_waveform(chain.recording).samples))
    for scene, name in zip(scenes[:2], ("wav", "bundled")):
        for take, motion in zip(scene["takes"], motions(chain, name)):
            steps = np.frombuffer(base64.b64decode(take["motion"]["steps"]), np.int16).reshape(scene["frames"], 52)
            others = [column for column in range(52) if column not in take["life"]["columns"]]  # but blinks and gaze
            np.testing.assert_allclose(take["motion"]["scale"] * steps[:, others], motion[:, others], atol=2e-5)
    text = chain.page.read_text(encoding="utf-8")
    assert all(f"<h2>{title}</h2>" in text for title in ("Benchmark", "Losses", "Time"))
    assert 'src="http' not in text
    assert 'href="http' not in text


def test_takes_differ_and_have_a_frame_every_25th_of_a_second(chain):
    for name in ("wav", "bundled"):
        made = motions(chain, name)
        for one, other in itertools.combinations(made, 2):
            assert np.abs(one - other).max() > 0.01
    samples = load_waveform(chain.recording).samples
    assert {len(motion) for motion in motions(chain, "wav")} == {frame_count(len(samples))} == {33}


def test_takes_stay_in_the_rigs_limits_and_move(chain):
    for motion in (*motions(chain, "wav"), *motions(chain, "bundled")):
        assert motion.min() >= 0
        assert motion.max() <= 1
        assert motion.std(axis=0).max() > 0.01


def test_bundle_performs_the_same_takes_again(chain):
    takes = deeptalk.load(chain.bundle).perform(chain.recording, takes=4, seed=SEED)
    for take, before in zip(takes, motions(chain, "wav"), strict=True):
        np.testing.assert_array_equal(take.motion, before)


def test_csv_says_what_npz_says(chain):
    recording = read_live_link_csv(chain.out / "takes" / "wav_take2.csv")
    np.testing.assert_allclose(recording.motion, motions(chain, "wav")[1], atol=1e-7)
    assert recording.frame_rate == 25.0


def test_load_finds_the_last_demo(chain, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(chain.cache))
    assert deeptalk.load().bundle.folder == chain.bundle.resolve()


def test_report_has_every_row_and_only_drawing_systems_vary(chain):
    report = json.loads((chain.out / "report" / "report.json").read_text())
    rows = {row["system"]: row["per_clip"] for row in report["systems"]}
    drawing, still = ["DEEPTalk", "EmoTalk + noise", "true performance"], ["EmoTalk", "nearest neighbour", "mean face"]
    assert sorted(rows) == sorted(drawing + still)
    assert report["settings"]["corpus_hash"] == Corpus.open(chain.corpus).hash
    assert len(report["clips"]) == 4
    for name in still:
        assert rows[name]["diversity"] == [0.0] * 4
    for name in drawing:
        assert min(rows[name]["diversity"]) > 0.01
    for metric in ("energy_score", "coverage_error", "mean_estimate_error", "lve", "eve"):
        assert all(value > 0 for row in rows.values() for value in row[metric]), metric
    truth = np.mean(rows["true performance"]["energy_score"])
    assert all(np.mean(rows[name]["energy_score"]) > truth for name in rows if name != "true performance")
    markdown = (chain.out / "report" / "report.md").read_text()
    assert all(f"| {name} |" in markdown for name in rows)


@pytest.mark.parametrize("folder", LOSSES)
def test_training_loss_falls(chain, folder):
    values = [value for _, value in read_history(chain.out / folder)[f"train/{LOSSES[folder]}"]]
    quarter = len(values) // 4
    assert quarter >= 4
    first, last = np.mean(values[:quarter]), np.mean(values[-quarter:])
    assert last < (0.95 if folder == "talker/stage_2" else 0.8) * first  # stage 2 starts where stage 1 ended


def test_parts_know_their_corpus_and_parents(chain):
    corpus = Corpus.open(chain.corpus)
    parts = {name: read_part(part_folder(chain.out / name), name) for name in TRAINED}
    assert {part.corpus for part in parts.values()} == {corpus.hash}
    assert {part.rig for part in parts.values()} == {"arkit"}
    assert parts["talker"].parents == {name: weights_sha256(chain.out / name / "model") for name in ("thvqvae", "dee")}
    for name in ("thvqvae", "dee", "talker"):
        assert weights_sha256(chain.bundle / name) == weights_sha256(chain.out / name / "model")


def test_resolved_configs_lie_beside_results(chain):
    for name in TRAINED:
        config = OmegaConf.load(chain.out / name / "config.yaml")
        assert OmegaConf.select(config, "data.seed") == SEED
        for word in WORDS[name]:
            key, value = word.split("=", 1)
            assert str(OmegaConf.select(config, key)).replace("'", "") == value
    assert OmegaConf.load(chain.out / "thvqvae" / "config.yaml").model.channels == 52  # not given, but resolved
    assert OmegaConf.load(chain.out / "report" / "config.yaml").takes == 4
    assert json.loads((chain.corpus / "corpus.json").read_text())["config"]["seed"] == SEED


def test_wandb_writes_offline(chain):
    assert list((chain.out / "dee" / "wandb").glob("offline-run-*/*.wandb"))


def test_demo_again_uses_what_is_trained(chain, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(chain.out, out)
    page = run_demo(out, None, "tiny", SEED, WORDS)
    for name in TRAINED:
        assert weights_sha256(out / name / "model") == weights_sha256(chain.out / name / "model")
    for folder, key in LOSSES.items():
        assert read_history(out / folder)[f"train/{key}"] == read_history(chain.out / folder)[f"train/{key}"]
    assert page_data(page)["scenes"][0]["title"] == "Four takes"
    assert not list((out / "takes").glob("wav_*"))  # the recording of the run before is gone from page and takes


def test_another_seed_is_refused_where_a_demo_lies(chain, deeptalk):
    before = chain.page.stat().st_mtime_ns
    assert "another config" in deeptalk("demo", "--out", chain.out, "--seed", SEED + 1).error
    assert chain.page.stat().st_mtime_ns == before
