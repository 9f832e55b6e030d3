"""Configs of the training stages: the fields that presets and words set."""

from dataclasses import dataclass, field

from dee import DEEConfig, DEETrainingConfig, RecogniserConfig, RecogniserTrainingConfig
from deeptalk.baselines import EmoTalkConfig, EmoTalkTrainingConfig
from deeptalk.corpus import ClipWindowsConfig, MotionFramesConfig, MotionWindowsConfig, SwappedPairsConfig
from deeptalk.talker import IndexPredictorConfig, TalkerTrainingConfig
from deeptalk.training import TrainerConfig
from thvqvae import THVQVAEConfig, THVQVAETrainingConfig

SPEECH = "whisper:2s+prosody"
"""Whisper in short windows: trained on clips of two seconds, a model then hears long speech as it heard those."""


def _region_weights() -> dict[str, float]:
    return {"face": 1.0, "lips": 4.0, "upper_face": 1.0}


@dataclass(frozen=True)
class THVQVAEStage:
    """The motion prior's run."""

    model: THVQVAEConfig = field(default_factory=THVQVAEConfig)
    """Network; the number of channels is the corpus's."""
    training: THVQVAETrainingConfig = field(default_factory=THVQVAETrainingConfig)
    """Optimiser and losses."""
    data: MotionWindowsConfig = field(default_factory=MotionWindowsConfig)
    """Windows of motion."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Length and device."""
    region_weights: dict[str, float] = field(default_factory=_region_weights)
    """How much the vertices of each region count in vertex losses."""
    flame: str = ""
    """Path of your FLAME file, for a corpus of a FLAME rig; empty takes the one that DEEPTALK_FLAME names."""


@dataclass(frozen=True)
class RecogniserStage:
    """The expression recogniser's run."""

    model: RecogniserConfig = field(default_factory=RecogniserConfig)
    """Network; the number of channels is the corpus's."""
    training: RecogniserTrainingConfig = field(default_factory=RecogniserTrainingConfig)
    """Optimiser and augmentation."""
    data: MotionFramesConfig = field(default_factory=MotionFramesConfig)
    """Frames of motion."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Length and device."""


@dataclass(frozen=True)
class DEEStage:
    """The emotion embedding's run."""

    speech: str = SPEECH
    """Speech encoders, joined by '+'."""
    reads: str = ""
    """The one of these encoders that DEE reads, the others being for the talker; empty reads all."""
    model: DEEConfig = field(default_factory=DEEConfig)
    """Network; the numbers of features and channels are the encoder's and the corpus's, the recogniser its parent."""
    trained_blocks: int = 0
    """Last transformer blocks of the speech encoder that are trained too: of the one that `reads` names, or of the
    only one with any. The paper trains 2 of emotion2vec. 0 keeps all frozen and computes features once."""
    training: DEETrainingConfig = field(default_factory=DEETrainingConfig)
    """Optimiser and losses."""
    data: ClipWindowsConfig = field(default_factory=ClipWindowsConfig)
    """Windows of speech with motion."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Length and device."""


@dataclass(frozen=True)
class TalkerStage:
    """The talker's run: stage 1 (reconstruction), then stage 2 from its weights (with emotion consistency)."""

    speech: str = SPEECH
    """Speech encoders, joined by '+'; the same as DEE's."""
    reads: str = ""
    """The one of these encoders that the talker takes content from, the others being for DEE; empty reads all."""
    model: IndexPredictorConfig = field(default_factory=IndexPredictorConfig)
    """Network; sizes that the parents, the encoder and the corpus decide are taken from them."""
    stage_1: TalkerTrainingConfig = field(default_factory=TalkerTrainingConfig)
    """Optimiser and losses of stage 1."""
    stage_2: TalkerTrainingConfig = field(default_factory=lambda: TalkerTrainingConfig(stage=2))
    """Optimiser and losses of stage 2."""
    data: ClipWindowsConfig = field(default_factory=lambda: ClipWindowsConfig(frame_multiple=4))
    """Windows of speech with motion, a multiple of 4 frames long."""
    trainer_1: TrainerConfig = field(default_factory=TrainerConfig)
    """Length and device of stage 1."""
    trainer_2: TrainerConfig = field(default_factory=TrainerConfig)
    """Length and device of stage 2."""
    region_weights: dict[str, float] = field(default_factory=_region_weights)
    """How much the vertices of each region count in vertex losses."""
    flame: str = ""
    """Path of your FLAME file, for a corpus of a FLAME rig; empty takes the one that DEEPTALK_FLAME names."""


@dataclass(frozen=True)
class EmoTalkStage:
    """The run of EmoTalk."""

    speech: str = SPEECH
    """Speech encoders, joined by '+'."""
    model: EmoTalkConfig = field(default_factory=EmoTalkConfig)
    """Network; sizes that the encoder and the corpus decide are taken from them."""
    training: EmoTalkTrainingConfig = field(default_factory=EmoTalkTrainingConfig)
    """Optimiser and losses."""
    data: SwappedPairsConfig = field(default_factory=SwappedPairsConfig)
    """Quadruples of two sentences by two emotions."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Length and device."""
