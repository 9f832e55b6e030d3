import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from deeptalk.errors import UserError
from deeptalk.training import TrainerConfig, fit, open_run, read_history


class EpochSampler(Sampler[tuple[int, int]]):
    epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return 12

    def __iter__(self):
        return iter([(i, 1000 * self.epoch + i) for i in range(12)])


class Noisy(Dataset):
    def __getitem__(self, key):
        index, seed = key if isinstance(key, tuple) else (key, key)
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(4, generator=generator)
        return x, x.sum(dim=0, keepdim=True)

    def __len__(self):
        return 12


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(Noisy(), batch_size=4, sampler=EpochSampler())

    def val_dataloader(self):
        return DataLoader(Noisy(), batch_size=4)


class Module(pl.LightningModule):
    def __init__(self, fail_at_epoch=None):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Dropout(0.5), torch.nn.Linear(16, 1))
        self.fail_at_epoch = fail_at_epoch

    def training_step(self, batch, index):
        if self.current_epoch == self.fail_at_epoch and index == 1:
            raise RuntimeError("killed")
        loss = (self.net(batch[0]) - batch[1]).square().mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, index):
        self.log("val/loss", (self.net(batch[0]) - batch[1]).square().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)]


def train(folder, **kwargs):
    torch.manual_seed(0)
    module = Module(**kwargs)
    config = TrainerConfig(max_epochs=6, loggers=["csv"], accelerator="cpu")
    fit(module, Data(), config, folder, "val/loss", progress=False)
    return module


def test_killed_run_resumes_to_the_same_weights(tmp_path):
    whole = train(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "killed", fail_at_epoch=3)
    torch.manual_seed(99)  # a new process has another random state
    resumed = train(tmp_path / "killed")
    last = [torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("whole", "killed")]
    for key, value in last[0]["state_dict"].items():
        assert torch.equal(value, last[1]["state_dict"][key]), key
    for one, other in zip(whole.parameters(), resumed.parameters()):
        assert torch.equal(one, other)


def test_last_is_the_last_epoch_even_where_nothing_improves(tmp_path):
    class Worsening(Module):
        def validation_step(self, batch, index):
            self.log("val/loss", float(self.current_epoch))

    module = Worsening()
    config = TrainerConfig(max_epochs=4, loggers=["csv"], accelerator="cpu")
    fit(module, Data(), config, tmp_path, "val/loss", progress=False)
    stored = {
        name: torch.load(tmp_path / f"checkpoints/{name}.ckpt", weights_only=True)["epoch"] for name in ("best", "last")
    }
    assert stored == {"best": 0, "last": 3}


@pytest.mark.parametrize("wrong", [{"max_epochs": 3, "validate_every_epochs": 2}, {"seed": -1}, {"devices": 0}])
def test_settings_that_no_run_can_use_are_refused(wrong):
    with pytest.raises(UserError, match=r"expected|multiple"):
        TrainerConfig(**wrong)


def test_a_device_that_is_not_there_is_one_sentence(tmp_path):
    config = TrainerConfig(max_epochs=1, loggers=["csv"], accelerator="tpuu")
    with pytest.raises(UserError, match="The trainer cannot run as configured"):
        fit(Module(), Data(), config, tmp_path, "val/loss", progress=False)


def test_history_spans_a_restart(tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path, fail_at_epoch=3)
    train(tmp_path)
    assert len(read_history(tmp_path)["val/loss"]) == 6


def test_another_config_is_refused_in_a_used_folder(tmp_path):
    inputs = {"corpus": "abc"}
    open_run(tmp_path, TrainerConfig(), inputs)
    open_run(tmp_path, TrainerConfig(seed=7), inputs)  # nothing trained yet: allowed
    (tmp_path / "stage_1/checkpoints").mkdir(parents=True)
    (tmp_path / "stage_1/checkpoints/last.ckpt").touch()
    open_run(tmp_path, TrainerConfig(seed=7), inputs)
    with pytest.raises(UserError, match=r"another run .*seed: 8"):
        open_run(tmp_path, TrainerConfig(seed=8), inputs)
    with pytest.raises(UserError, match=r"another run .*another corpus"):
        open_run(tmp_path, TrainerConfig(seed=7), {"corpus": "xyz"})


def test_unknown_logger_is_refused():
    with pytest.raises(UserError, match="expected any of csv, wandb"):
        TrainerConfig(loggers=["tensorboad"])
