from dataclasses import dataclass, field
from typing import Literal

import pytest
from omegaconf import OmegaConf

from deeptalk.config import compose, find_preset, save_config
from deeptalk.errors import UserError


@dataclass(frozen=True)
class Inner:
    learning_rate: float = 0.1
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    steps: int = 3

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}; expected at least 1.")


def test_words_win_over_presets_and_presets_over_defaults(tmp_path):
    preset = tmp_path / "preset.yaml"
    preset.write_text("steps: 5\ninner:\n  learning_rate: 0.5\n")
    config = compose(Outer, [preset], ["inner.learning_rate=0.25"])
    assert config == Outer(Inner(learning_rate=0.25), steps=5)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("inner.learning_rat=1", r"Unknown config key 'inner.learning_rat' in .* Did you mean 'inner.learning_rate'\?"),
        ("stepz=1", r"Did you mean 'steps'\?"),
        ("inner.kind=c", r"Config key 'inner.kind'"),
        ("steps=many", r"Config key 'steps'"),
        ("steps=0", r"steps is 0; expected at least 1"),
        ("steps", r"not of the form key=value"),
        ("steps=[", r"^'steps=\[' cannot be read as YAML"),
        ("inner.learning_rate=[a", r"^'inner.learning_rate=\[a' cannot be read as YAML"),
        ("steps=${nope", r"^'steps=\$\{nope' cannot be read as YAML"),
        ("inner=3", r"^'inner=3' sets inner to 3; it holds keys of its own: learning_rate, kind\."),
        ("inner=", r"^'inner=' sets inner to None; it holds keys"),
    ],
)
def test_bad_words_are_refused_by_name(word, message):
    with pytest.raises(UserError, match=message):
        compose(Outer, [], [word])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n- 2\n", "must hold keys and values, not a list"),
        (b"steps: [1\n", "cannot be read as YAML"),
        (b"steps: ${nope\n", "cannot be read as YAML"),
        (b"\xff\xfe\x00\x80", "cannot be read as YAML"),
        (b"inner: [1]\n", r"sets inner to \[1\]; it holds keys of its own"),
        (b"plain words\n", "Unknown config key"),
    ],
)
def test_a_preset_that_is_no_config_is_named(tmp_path, content, message):
    preset = tmp_path / "preset.yaml"
    preset.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        compose(Outer, [preset])
    assert str(preset) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_saved_config_composes_to_the_same(tmp_path):
    config = compose(Outer, [], ["steps=9"])
    save_config(config, tmp_path / "config.yaml")
    assert compose(Outer, [tmp_path / "config.yaml"]) == config
    assert OmegaConf.load(tmp_path / "config.yaml").steps == 9


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(UserError, match=r"No preset 'huge' for thvqvae; there are: .*tiny"):
        find_preset("thvqvae", "huge")


@dataclass(frozen=True)
class Part:
    name: str = ""


@dataclass(frozen=True)
class Texts:
    path: str = "x"
    part: Part = field(default_factory=Part)
    number: int = 1


@pytest.mark.parametrize("text", ["1114_2_04", "1e3", "null", "yes", "a: b", "été [1].wav", '"quoted"'])
def test_text_is_taken_as_it_stands(text):
    composed = compose(Texts, [], [f"path={text}", f"part.name={text}", "number=3"])
    assert (composed.path, composed.part.name, composed.number) == (text, text, 3)
