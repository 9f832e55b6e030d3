"""Importing the package and asking for help stay quick: neither loads torch."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "pytorch_lightning", "transformers", "wandb", "scipy", "soundfile", "huggingface_hub")


def loaded_after(statement: str) -> set[str]:
    code = f"import sys\ntry:\n    {statement}\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
    code += "print('LOADED', *sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(ended.stdout.split("LOADED")[-1].split())


@pytest.mark.parametrize(
    "statement",
    [
        "import deeptalk; deeptalk.__version__",
        "sys.argv = ['deeptalk', '--help']; from deeptalk.cli import main; main()",
        "sys.argv = ['deeptalk', 'sample', '--help']; from deeptalk.cli import main; main()",
    ],
)
def test_nothing_heavy_is_loaded(statement):
    loaded = loaded_after(statement)
    assert "deeptalk" in loaded
    assert not loaded & set(HEAVY)


def test_names_of_the_package_load_on_use():
    assert {"torch", "deeptalk.pipeline"} <= loaded_after("import deeptalk; deeptalk.load")
