"""How well speech tells the codes of a motion prior: the hierarchy against one level of the same bits.

    python benchmarks/code_prediction.py --corpus corpus/ --features KEY --out prediction.json

The corpus holds speech features (training DEE on it computes them). Each prior is trained as in `rate_distortion.py`.
Then small convolutional networks learn to tell its codes from the features and the codes before them, in the order top,
bottom or first, second, third codebook, each level at its own rate. Measured on unseen speakers: the codes' entropy
given nothing, their cross-entropy given speech, and how far the motion of the most likely codes is from the
performance, beside that of the true codes. One thread, one process.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rate_distortion import System, Task, load_windows, train
from rate_tables import REGIONS
from timing import print_table
from torch import Tensor, nn

from deeptalk.corpus import Corpus, FeatureStore, motion_statistics
from deeptalk.face import compact_vertices, load_rig
from deeptalk.files import write_json
from thvqvae import THVQVAE, Codes, ProductVQVAE, ProductVQVAEConfig, THVQVAEConfig

WINDOW_FRAMES = 64
SIZE = 96


class CodeReader(nn.Module):
    """Logits of one kind of codes, one every `stride` frames, from speech features and what earlier codes say."""

    def __init__(self, features: int, context: int, stride: int, codes: int):
        super().__init__()
        self.stride = stride
        self.project = nn.Linear(features, SIZE)
        self.convolutions = nn.ModuleList(nn.Conv1d(SIZE, SIZE, 5, padding=2) for _ in range(3))
        self.join = nn.Linear(SIZE + context, SIZE)
        self.logits = nn.Linear(SIZE, codes)

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """(batch, frame, feature), (batch, code, context) -> (batch, code, logit)."""
        hidden = self.project(features).transpose(1, 2)
        for convolution in self.convolutions:
            hidden = hidden + F.gelu(convolution(hidden))
        hidden = F.avg_pool1d(hidden, self.stride).transpose(1, 2)
        return self.logits(F.gelu(self.join(torch.cat([hidden, context], dim=-1))))


class Hierarchy:
    """The order of TH-VQVAE's codes: top from speech, bottom from speech and the decoded top codes."""

    def __init__(self, model: THVQVAE):
        self.model = model
        size = model.config.hidden_size
        self.kinds = [(0, 4, model.config.top_codes), (size, 2, model.config.bottom_codes)]

    def encode(self, motion: Tensor) -> list[Tensor]:
        """Indices (batch, code) of each kind."""
        return list(self.model.encode(motion))

    @torch.no_grad()
    def context(self, codes: Sequence[Tensor], kind: int, batch: int, frames: int) -> Tensor:
        """What the earlier codes say."""
        if kind == 0:
            return torch.zeros(batch, frames // 4, 0)
        return self.model.decode_top(self.model.top_vectors(codes[0]))

    def decode(self, codes: Sequence[Tensor]) -> Tensor:
        """Motion."""
        return self.model.decode(Codes(codes[0], codes[1]))


class OneLevel:
    """The order of a product code: each codebook from speech and the vectors of the codebooks before it."""

    def __init__(self, model: ProductVQVAE):
        self.model = model
        config = model.config
        self.kinds = [(kind * config.hidden_size, config.stride, config.codes) for kind in range(config.codebooks)]

    def encode(self, motion: Tensor) -> list[Tensor]:
        """Indices (batch, code) of each kind."""
        return list(self.model.encode(motion).unbind(dim=-1))

    @torch.no_grad()
    def context(self, codes: Sequence[Tensor], kind: int, batch: int, frames: int) -> Tensor:
        """What the earlier codes say."""
        if kind == 0:
            return torch.zeros(batch, frames // self.model.stride, 0)
        books = list(self.model.quantizers)[:kind]
        return torch.cat([book.vectors(own) for book, own in zip(books, codes)], dim=-1)  # type: ignore[operator]

    def decode(self, codes: Sequence[Tensor]) -> Tensor:
        """Motion."""
        return self.model.decode(torch.stack(list(codes), dim=-1))


def load_pairs(corpus: Corpus, store: FeatureStore, split: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Windows of features and motion of one random performance each, (window, frame, ...)."""
    rng = np.random.default_rng(seed)
    speech_of = corpus.performances.column("speech")
    frames = corpus.performances.numbers("frames")
    long = [index for index in corpus.performances_in(split, given="speech") if frames[index] >= WINDOW_FRAMES]
    features, motions = [], []
    for index in rng.choice(long, count, replace=len(long) < count).tolist():
        first = int(rng.integers(0, frames[index] - WINDOW_FRAMES + 1))
        part = slice(first, first + WINDOW_FRAMES)
        features.append(store.get(speech_of[index], part))
        motions.append(corpus.motion(index, part=part))
    return torch.from_numpy(np.stack(features)), torch.from_numpy(np.stack(motions))


def learn(
    prior: Hierarchy | OneLevel, features: Tensor, motion: Tensor, options: argparse.Namespace
) -> list[CodeReader]:
    """Readers of every kind of codes, trained with the true earlier codes."""
    torch.manual_seed(0)
    readers = [CodeReader(features.shape[-1], context, stride, codes) for context, stride, codes in prior.kinds]
    parameters = [parameter for reader in readers for parameter in reader.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.05, fused=True)
    codes = [torch.cat(own) for own in zip(*(prior.encode(part) for part in motion.split(64)))]
    for step in range(options.reader_steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * (0.505 + 0.495 * math.cos(math.pi * step / options.reader_steps))
        picks = torch.randint(len(features), (32,))
        own = [kind[picks] for kind in codes]
        optimizer.zero_grad()
        losses(prior, readers, features[picks], own).sum().backward()
        optimizer.step()
    return readers


def losses(
    prior: Hierarchy | OneLevel, readers: Sequence[CodeReader], features: Tensor, codes: Sequence[Tensor]
) -> Tensor:
    """Mean cross-entropy of each kind of codes in nats."""
    found = []
    for kind, reader in enumerate(readers):
        context = prior.context(codes, kind, len(features), features.shape[1])
        found.append(F.cross_entropy(reader(features, context).flatten(0, 1), codes[kind].flatten()))
    return torch.stack(found)


@torch.no_grad()
def evaluate(
    prior: Hierarchy | OneLevel, readers: Sequence[CodeReader], features: Tensor, motion: Tensor, task: Task
) -> dict[str, float]:
    """Entropy and cross-entropy in bits a second, and the distance of the most likely codes' motion in mm."""
    codes = prior.encode(motion)
    rates = np.array([25 / stride for _, stride, _ in prior.kinds])
    shares = [
        torch.bincount(own.flatten(), minlength=size) / own.numel() for own, (_, _, size) in zip(codes, prior.kinds)
    ]
    entropy = np.array([float(-(share * (share + 1e-12).log2()).sum()) for share in shares])
    given_speech = losses(prior, readers, features, codes).numpy() / math.log(2)
    likely: list[Tensor] = []
    for kind, reader in enumerate(readers):
        context = prior.context(likely, kind, len(features), features.shape[1])
        likely.append(reader(features, context).argmax(dim=-1))
    decoded, true = prior.decode(likely), prior.decode(codes)
    result = {"entropy": float(rates @ entropy), "given_speech": float(rates @ given_speech)}
    for region in REGIONS:
        vertices = compact_vertices(task.rig, {region: 1.0})
        for name, one in (("likely", decoded), ("true", true)):
            squares = (vertices(one) - vertices(motion)).square().sum(dim=-1)
            result[f"{name}_{region}"] = 1e3 * float(squares.mean().sqrt())
    return result


def main() -> None:
    """Train priors and readers, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--features", required=True, help="folder of the features inside the corpus's `features`")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--reader-steps", type=int, default=600)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--windows", type=int, default=8192)
    parser.add_argument("--out", type=Path, default=Path("code_prediction.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = Corpus.open(options.corpus)
    store = FeatureStore(corpus, options.corpus / "features" / options.features)
    training, validation = load_windows(corpus, options.windows)
    task = Task(training, validation, motion_statistics(corpus), load_rig(corpus.rig), {})
    features, motion = load_pairs(corpus, store, "train", 4096, 0)
    test_features, test_motion = load_pairs(corpus, store, "test", 512, 1)
    mean, std = features.mean(dim=(0, 1)), features.std(dim=(0, 1)).clamp(min=1e-3)
    features, test_features = (features - mean) / std, (test_features - mean) / std
    sizes = {"channels": motion.shape[-1], "hidden_size": options.size, "heads": 4, "dropout": 0.0}
    sizes |= {"feedforward_size": 2 * options.size, "decoder_feedforward_size": 4 * options.size}
    rows = [
        System("hierarchy", "", THVQVAEConfig(**sizes)),
        System("hierarchy, projected", "", THVQVAEConfig(**sizes, project_bottom=True)),
        System("one level, 3 codes every 4 frames", "", ProductVQVAEConfig(**sizes)),
    ]
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        for system in rows:
            model = train(system, options.learning_rate, task, options, seed)[0].model
            prior = Hierarchy(model) if isinstance(model, THVQVAE) else OneLevel(model)  # type: ignore[arg-type]
            readers = learn(prior, features, motion, options)
            found.setdefault(system.name, []).append(evaluate(prior, readers, test_features, test_motion, task))
            print(system.name, seed, found[system.name][-1], flush=True)
            write_json(options.out, found)
    names = list(found["hierarchy"][0])
    cells = [[name, *(" / ".join(f"{one[key]:.3g}" for one in own) for key in names)] for name, own in found.items()]
    print_table("Codes told from speech, each seed", ["prior", *names], cells)


if __name__ == "__main__":
    main()
