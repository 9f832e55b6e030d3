"""EmoTalk's emotion-guided feature fusion decoder (arXiv 2303.11089, section 3.3), for any batch size.

Attention is `scaled_dot_product_attention` with an explicit float bias: the fused encoder path of torch reads float
masks as boolean ones.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from deeptalk.errors import UserError
from thvqvae.attention import periodic_alibi_bias

LEVELS = 2
"""Emotion levels of the paper: 0 normal, 1 strong."""


def causal_periodic_bias(heads: int, frames: int, period: int) -> Float[Tensor, "head {frames} {frames}"]:
    """Additive self-attention bias: -slope * floor((query - key) / period) for the past, -inf for the future.

    The slopes are ALiBi's: 1/4, 1/16, 1/64, 1/256 for four heads. Axes: head, query frame, key frame.
    """
    future = torch.ones(frames, frames, dtype=torch.bool).triu(1)
    return periodic_alibi_bias(heads, frames, period).masked_fill(future, -torch.inf)


def alignment_bias(frames: int) -> Float[Tensor, "{frames} {frames}"]:
    """Additive bias of the emotion-guided attention: frame t sees only emotion frame t (0 there, -inf elsewhere)."""
    return torch.full((frames, frames), -torch.inf).fill_diagonal_(0.0)


class Attention(nn.Module):
    """Multi-head attention with an additive float bias; packed like torch's, so its weights can be loaded."""

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_projection = nn.Linear(size, 3 * size)
        self.out_projection = nn.Linear(size, size)
        nn.init.xavier_uniform_(self.in_projection.weight)
        nn.init.zeros_(self.in_projection.bias)
        nn.init.zeros_(self.out_projection.bias)

    def forward(
        self,
        query: Float[Tensor, "batch query size"],
        memory: Float[Tensor, "batch key size"],
        bias: Float[Tensor, "..."],
    ) -> Float[Tensor, "batch query size"]:
        """Attend from `query` to `memory`; `bias` broadcasts to (batch, head, query, key)."""
        size = query.shape[-1]
        weight, offset = self.in_projection.weight, self.in_projection.bias
        queries = functional.linear(query, weight[:size], offset[:size])
        keys, values = functional.linear(memory, weight[size:], offset[size:]).chunk(2, dim=-1)
        queries, keys, values = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (queries, keys, values))
        dropout = self.dropout if self.training else 0.0
        # The bias must have the dtype of the query: with another dtype torch 2.13 on CPU adds wrong values.
        mixed = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=bias.to(queries.dtype), dropout_p=dropout
        )
        return self.out_projection(mixed.transpose(1, 2).flatten(2))


class FusionLayer(nn.Module):
    """One post-norm decoder layer: biased causal self-attention, emotion-guided attention, feedforward with ReLU.

    With the published alignment mask each softmax has one open key, so the emotion-guided attention equals its value
    and output projections; its query and key projections are kept for released weights and get a gradient of zero.
    """

    def __init__(self, size: int, heads: int, feedforward: int, dropout: float):
        super().__init__()
        self.self_attention = Attention(size, heads, dropout)
        self.emotion_attention = Attention(size, heads, dropout)
        self.expand = nn.Linear(size, feedforward)
        self.contract = nn.Linear(feedforward, size)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        stream: Float[Tensor, "batch frame size"],
        emotion: Float[Tensor, "batch frame size"],
        self_bias: Float[Tensor, "head frame frame"],
        emotion_bias: Float[Tensor, "frame frame"],
    ) -> Float[Tensor, "batch frame size"]:
        """Update the query stream with its own past and with the emotion frame of the same time."""
        stream = self.norms[0](stream + self.dropout(self.self_attention(stream, stream, self_bias)))
        stream = self.norms[1](stream + self.dropout(self.emotion_attention(stream, emotion, emotion_bias)))
        hidden = self.contract(self.dropout(self.expand(stream).relu()))
        return self.norms[2](stream + self.dropout(hidden))


class FusionDecoder(nn.Module):
    """Hidden content and emotion sequences, a level and a person -> motion, in one pass over all frames.

    Sizes as published: content 512 | emotion 832 -> 256 ReLU | level 32 | person 32 make the 832-wide query stream; the
    832-wide emotion sequence before the ReLU is the memory. Output starts at zero. Causal in the content, so padding
    after the end of a clip changes nothing.
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        channels: int,
        people: int,
        content_size: int,
        emotion_size: int,
        level_size: int,
        person_size: int,
        heads: int,
        feedforward: int,
        dropout: float,
        bias_period: int,
    ):
        super().__init__()
        size = content_size + emotion_size + level_size + person_size
        self.people, self.heads, self.bias_period = people, heads, bias_period
        self.content = nn.Linear(hidden_size, content_size)
        self.emotion_memory = nn.Linear(hidden_size, size)
        self.emotion_query = nn.Linear(size, emotion_size)
        self.level = nn.Linear(LEVELS, level_size)
        self.person = nn.Linear(people, person_size)
        self.layer = FusionLayer(size, heads, feedforward, dropout)
        self.output = nn.Linear(size, channels)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def query_stream(
        self,
        content: Float[Tensor, "batch frame hidden"],
        memory: Float[Tensor, "batch frame size"],
        level: Int[Tensor, "batch"],
        person: Int[Tensor, "batch"],
    ) -> Float[Tensor, "batch frame size"]:
        """Content, emotion, level and person side by side; the last two repeated over time."""
        controls = torch.cat([self.level(self._one_hot(level, LEVELS, "level")), self._person(person)], dim=-1)
        controls = controls[:, None].expand(-1, content.shape[1], -1)
        return torch.cat([self.content(content), self.emotion_query(memory).relu(), controls], dim=-1)

    def forward(
        self,
        content: Float[Tensor, "batch frame hidden"],
        emotion: Float[Tensor, "batch frame hidden"],
        level: Int[Tensor, "batch"],
        person: Int[Tensor, "batch"],
    ) -> Float[Tensor, "batch frame channel"]:
        """Motion of every frame. `level` is 0 or 1; `person` -1 stands for the mean of the people known.

        Raises UserError for a level or person out of range.
        """
        memory = self.emotion_memory(emotion)
        stream = self.query_stream(content, memory, level, person)
        frames = content.shape[1]
        self_bias = causal_periodic_bias(self.heads, frames, self.bias_period).to(stream.device)
        emotion_bias = alignment_bias(frames).to(stream.device)
        return self.output(self.layer(stream, memory, self_bias, emotion_bias))

    def _person(self, person: Tensor) -> Tensor:
        if bool((person < -1).any()):
            raise UserError(f"Person {int(person.min())} is out of range; expected 0 to {self.people - 1}, or -1.")
        known = self._one_hot(person.clamp(min=0), self.people, "person")
        mean = torch.full_like(known, 1.0 / self.people)
        return self.person(torch.where((person < 0)[:, None], mean, known))

    def _one_hot(self, index: Tensor, classes: int, name: str) -> Tensor:
        if bool(((index < 0) | (index >= classes)).any()):
            raise UserError(f"EmoTalk knows {name} 0 to {classes - 1}; got {index.tolist()}.")
        return functional.one_hot(index, classes).to(self.output.weight.dtype)
