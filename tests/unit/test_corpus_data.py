from collections import Counter

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from corpus_samples import BLINK, JAW, write_corpus

from deeptalk.corpus import (
    ClipWindows,
    ClipWindowsConfig,
    InOrderSampler,
    MotionWindows,
    MotionWindowsConfig,
    SeededSampler,
)
from deeptalk.corpus.windows import collate, draw_window
from deeptalk.errors import UserError
from deeptalk.speech import build_encoder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("data") / "corpus")


@pytest.fixture(scope="module")
def store(corpus):
    return corpus.features(build_encoder("logmel"))


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def test_sampler_epochs():
    sampler = SeededSampler(10, 25, seed=3)
    first, second = epoch_of(sampler, 0), epoch_of(sampler, 1)
    assert len(first) == len(sampler) == 25
    assert first == epoch_of(SeededSampler(10, 25, seed=3), 0)
    assert first != second
    assert first != epoch_of(SeededSampler(10, 25, seed=4), 0)
    for start in (0, 10):
        assert sorted(index for index, _ in first[start : start + 10]) == list(range(10))
    assert len({seed for _, seed in first + second}) == 50


def test_sampler_shares_between_ranks():
    whole = epoch_of(SeededSampler(10, 24, seed=3), 2)
    ranks = [epoch_of(SeededSampler(10, 24, 3, rank=rank, world_size=3), 2) for rank in range(3)]
    assert [draw for draws in zip(*ranks) for draw in draws] == whole
    uneven = [epoch_of(SeededSampler(10, 25, 3, rank=rank, world_size=3), 0) for rank in range(3)]
    assert {len(draws) for draws in uneven} == {9}


def test_sampler_balances_groups():
    groups = [0] * 8 + [1] * 2
    draws = epoch_of(SeededSampler(10, 100, 0, groups=groups), 0)
    assert Counter(groups[index] for index, _ in draws) == {0: 50, 1: 50}
    for start in range(0, 100, 2):
        assert {groups[index] for index, _ in draws[start : start + 2]} == {0, 1}
    assert len({groups[index] for index, _ in draws[::2]}) == 2


def test_sampler_refuses_nothing_to_draw():
    with pytest.raises(ValueError, match="size 0"):
        SeededSampler(0, 5, 0)


def test_in_order_sampler_never_changes():
    sampler = InOrderSampler(5, seed=1)
    assert list(sampler) == list(sampler)
    assert [index for index, _ in sampler] == list(range(5))
    assert sorted(list(InOrderSampler(5, 1, 0, 2)) + list(InOrderSampler(5, 1, 1, 2))) == list(sampler)
    assert not hasattr(sampler, "set_epoch")


class Recorder(pl.LightningModule):
    """Keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen, self.validated = [], []

    def training_step(self, batch, batch_index):
        self.seen.append((self.current_epoch, batch["performance"].tolist(), batch["motion"].sum().item()))
        return self.weight.sum() * 0

    def validation_step(self, batch, batch_index):
        self.validated.append((self.current_epoch, batch["performance"].tolist(), batch["motion"].sum().item()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data, folder, epochs, checkpoint=None):
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    module = Recorder()
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    trainer.save_checkpoint(folder / "end.ckpt")
    return module


def test_a_resumed_run_sees_the_data_of_the_uninterrupted_one(corpus, store, tmp_path):
    """Lightning's own calls of `set_epoch` are what is tested here."""
    config = ClipWindowsConfig(batch_size=4, samples_per_epoch=12, seed=5, min_seconds=0.3)
    whole = fit(ClipWindows(corpus, store, config), tmp_path / "whole", 3)
    fit(ClipWindows(corpus, store, config), tmp_path / "part", 1)
    rest = fit(ClipWindows(corpus, store, config), tmp_path / "part", 3, tmp_path / "part" / "end.ckpt")
    assert [epoch for epoch, *_ in whole.seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert rest.seen == whole.seen[3:]
    assert [row[1:] for row in whole.seen[:3]] != [row[1:] for row in whole.seen[3:6]]
    by_epoch = [[row[1:] for row in whole.validated if row[0] == epoch] for epoch in range(3)]
    assert by_epoch[0] == by_epoch[1] == by_epoch[2]
    assert sum(len(row[0]) for row in by_epoch[0]) == 4


def test_workers_change_nothing(corpus, store):
    config = {"batch_size": 4, "samples_per_epoch": 8, "seed": 1, "min_seconds": 0.3}
    alone = list(ClipWindows(corpus, store, ClipWindowsConfig(**config)).train_dataloader())
    helped = list(ClipWindows(corpus, store, ClipWindowsConfig(**config, num_workers=1)).train_dataloader())
    for one, two in zip(alone, helped, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_motion_windows(corpus):
    data = MotionWindows(corpus, MotionWindowsConfig(batch_size=8, samples_per_epoch=64, window_frames=32))
    lengths = []
    for batch in data.train_dataloader():
        assert batch["motion"].shape == (8, 32, 52)
        assert batch["motion"].dtype == torch.float32
        assert not batch["motion"][..., BLINK].any()
        for motion, length in zip(batch["motion"], batch["lengths"].tolist()):
            assert torch.equal(motion[length:], motion[length - 1].expand(32 - length, -1))
            lengths.append(length)
    assert max(lengths) == 32
    assert min(lengths) < 32


def test_motion_windows_start_anywhere(corpus):
    data = MotionWindows(corpus, MotionWindowsConfig(window_frames=8))
    index = next(i for i, (performance, _) in enumerate(data.train_data.places) if performance == 0)
    starts = {data.train_data[index, seed]["motion"][0, JAW].item() for seed in range(200)}
    expected = {float(value) for value in corpus.motion(0)[: corpus.performances[0].frames - 7, JAW]}
    assert starts == expected
    again = data.train_data[index, 17]
    assert torch.equal(again["motion"], data.train_data[index, 17]["motion"])


def test_motion_validation_covers_every_frame_once(corpus):
    data = MotionWindows(corpus, MotionWindowsConfig(batch_size=3, window_frames=8, include_blinks_and_gaze=True))
    batches = list(data.val_dataloader())
    found = torch.cat([m[:n] for batch in batches for m, n in zip(batch["motion"], batch["lengths"].tolist())])
    expected = np.concatenate([corpus.motion(index, blink_and_gaze=True) for index in corpus.performances_in("val")])
    assert np.array_equal(found.numpy(), expected)
    assert found[:, BLINK].all()


def test_clip_windows_cut_features_and_motion_alike(corpus, store):
    data = ClipWindows(corpus, store, ClipWindowsConfig(min_seconds=0.3, max_seconds=0.6))
    sizes = set()
    for index in range(len(data.train_data)):
        for seed in range(20):
            item = data.train_data[index, seed]
            speech, performance = int(item["speech"]), int(item["performance"])
            motion, features = corpus.motion(performance), store.get(speech)
            jaw = item["motion"][:, JAW].numpy()
            length = int(item["lengths"])
            first = next(
                start for start in range(len(motion)) if np.array_equal(motion[start : start + length, JAW], jaw)
            )
            assert np.array_equal(item["features"].numpy()[:, 0], features[first : first + length, 0])
            assert int(item["emotion"]) == corpus.performances[performance].emotion
            assert corpus.performances[performance].speech == speech
            sizes.add(length)
    assert sizes == set(range(8, 16))


def test_every_performance_of_a_clip_is_drawn(corpus, store):
    data = ClipWindows(corpus, store, ClipWindowsConfig())
    drawn = Counter(int(data.train_data[0, seed]["performance"]) for seed in range(300))
    assert set(drawn) == set(corpus.performances_of(0))
    assert min(drawn.values()) > 70


def test_clips_leave_out_speech_without_motion_and_fixed_label_draws(corpus, store, tmp_path):
    data = ClipWindows(corpus, store, ClipWindowsConfig())
    assert len(data.train_data) == 12  # of 13 pieces of speech, one has no performance
    assert data.speakers == ("ann", "bob")
    train = next(iter(data.train_dataloader()))
    assert set(train["speaker"].tolist()) == {0, 1}
    assert set(next(iter(data.val_dataloader()))["speaker"].tolist()) == {-1}


def test_windows_have_a_multiple_of_four_frames(corpus, store):
    config = ClipWindowsConfig(frame_multiple=4, min_seconds=0.3, samples_per_epoch=60)
    data = ClipWindows(corpus, store, config)
    lengths = torch.cat([batch["lengths"] for batch in data.train_dataloader()])
    assert (lengths % 4 == 0).all()
    assert len(set(lengths.tolist())) > 2
    for item in (data.val_data[index, 0] for index in range(4)):
        frames = corpus.performances[int(item["performance"])].frames
        assert int(item["lengths"]) == frames // 4 * 4
    whole = ClipWindows(corpus, store, ClipWindowsConfig(whole_clips=True)).train_data[0, 0]
    assert int(whole["lengths"]) == corpus.performances[int(whole["performance"])].frames


def test_separate_windows_are_of_one_clip_and_length_but_apart(corpus, store):
    config = ClipWindowsConfig(separate_windows=True, min_seconds=0.2, max_seconds=0.4)
    data = ClipWindows(corpus, store, config)
    together = ClipWindows(corpus, store, ClipWindowsConfig(min_seconds=0.2, max_seconds=0.4))
    apart = 0
    for seed in range(20):
        item, aligned = data.train_data[0, seed], together.train_data[0, seed]
        assert torch.equal(item["features"], aligned["features"])
        assert item["motion"].shape == aligned["motion"].shape
        whole = torch.from_numpy(corpus.motion(int(item["performance"]), blink_and_gaze=False))
        assert any(torch.equal(item["motion"], window) for window in whole.unfold(0, len(item["motion"]), 1).mT)
        apart += not torch.equal(item["motion"], aligned["motion"])
    assert apart > 10
    assert torch.equal(data.val_data[0, 0]["motion"], together.val_data[0, 0]["motion"])
    with pytest.raises(UserError, match="separate_windows=true with frame_multiple 4"):
        ClipWindowsConfig(separate_windows=True, frame_multiple=4)


def test_draw_window():
    generator = np.random.default_rng(0)
    assert draw_window(3, 25, 150, 4, generator) == (0, 3)
    assert {draw_window(10, 25, 150, 4, generator)[1] for _ in range(50)} == {8}
    windows = [draw_window(100, 25, 50, 4, generator) for _ in range(2000)]
    assert {length for _, length in windows} == set(range(28, 52, 4)) - {52}
    assert all(0 <= first <= 100 - length for first, length in windows)
    assert {draw_window(40, 25, 25, 1, generator) for _ in range(500)} == {(first, 25) for first in range(16)}


def test_balanced_emotions(corpus, store):
    config = ClipWindowsConfig(balanced_emotions=True, samples_per_epoch=120, batch_size=24)
    emotions = Counter()
    for batch in ClipWindows(corpus, store, config).train_dataloader():
        emotions.update(batch["emotion"].tolist())
        assert set(Counter(batch["emotion"].tolist()).values()) == {4}  # in every batch
    assert emotions == {0: 20, 1: 20, 2: 20, 3: 20, 4: 20, 5: 20}
    plain = Counter()
    for batch in ClipWindows(corpus, store, ClipWindowsConfig(samples_per_epoch=600)).train_dataloader():
        plain.update(batch["emotion"].tolist())
    assert plain[0] > 1.4 * plain[1]  # two of three performances act the label


def test_collate_pads_and_keeps_values():
    items = [
        {"features": torch.ones(2, 3), "motion": torch.full((2, 1), 5.0), "lengths": torch.tensor(2)},
        {"features": torch.ones(4, 3), "motion": torch.full((4, 1), 7.0), "lengths": torch.tensor(4)},
    ]
    batch = collate(items)
    assert batch["features"][0].sum(dim=1).tolist() == [3, 3, 0, 0]
    assert batch["motion"][0].flatten().tolist() == [5, 5, 5, 5]
    assert batch["lengths"].tolist() == [2, 4]
    assert batch["lengths"].dtype == torch.int64


def test_a_corpus_without_what_is_asked_for(corpus, store):
    with pytest.raises(UserError, match="no split 'dev'; there are: train, val"):
        ClipWindows(corpus, store, ClipWindowsConfig(val_split="dev"))


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        (ClipWindowsConfig, {"min_seconds": 3.0, "max_seconds": 2.0}, r"min_seconds 3.0 .* max_seconds 2.0"),
        (ClipWindowsConfig, {"frame_multiple": 0}, "frame_multiple is 0"),
        (ClipWindowsConfig, {"batch_size": 0}, "batch_size is 0"),
        (MotionWindowsConfig, {"window_frames": 0}, "window_frames is 0"),
        (MotionWindowsConfig, {"num_workers": -1}, "num_workers is -1"),
        (MotionWindowsConfig, {"seed": -1}, "seed is -1"),
    ],
)
def test_configs_check_themselves(config, arguments, message):
    with pytest.raises(UserError, match=message):
        config(**arguments)
