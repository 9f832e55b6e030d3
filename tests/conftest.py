"""What every test runs under: one thread a process, no network, no user's cache."""

import os

# Two pytest workers on two cores: more threads would wait for each other (a step took 4.4 s instead of 0.03 s).
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

SHARED = Path(__file__).parents[2] / "shared"


def pytest_collection_modifyitems(config, items):
    """Skip tests of the large fixtures where they are absent, saying so."""
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason=f"needs the large fixtures in {SHARED}, which a clone of the project does not have")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep tests away from the user's last demo and bundle."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("DEEPTALK_BUNDLE", raising=False)
