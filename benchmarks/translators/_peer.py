"""A translator of plain PyTorch, of the architecture that conveyor's has by default.

What makes it fast on a CPU, and what did not. Ratios of medians to the one as it stands, float32
and bfloat16, CPU time of one thread, each batch by each in turn, on a busy machine: 0.03 is noise.

- Padded `nn.LSTM`s, which oneDNN runs in one call: packed ones run step by step, 0.89, 0.81. So
  that padding changes nothing the encoder has two LSTMs, the second of which reads each sentence
  reversed in place, and a flag that keeps the cell state (see `Encoder`): 1 % slower than without.
- Time before batch: with `batch_first` an LSTM alone takes 4 % longer in bfloat16.
- Logits where there is a token to predict and nowhere else: at all positions, 0.96.
- The attention's matrix on the decoder's side, scores and mask in one `baddbmm`: keys from the
  encoder and `masked_fill`, 0.92, 0.90; `scaled_dot_product_attention`, 1.01, 0.96.
- Dropout whose mask is shared over time, as conveyor has it: `nn.Dropout` takes 3 ms, three times a
  step.
- `Adam(fused=True)`: `foreach`, 0.97.
- Memory that the C library keeps (`MALLOC` in `_contestants.py`): without, 0.7 and 0.65, as the
  system clears fresh pages for the logits and their gradients at each step.
- Not taken, as nothing was gained: cross entropy with a backward pass of its own (0.97, 0.99), in
  blocks of rows that stay in the cache (0.97 to 1.0), bfloat16 inside of float32 products
  (`fp32_precision`: 0.7 of autocast).
- `torch.compile` of all that is not an LSTM: between 0.95 and 1.05, differently in each run, so
  both take part in each and the faster one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDING = 0
_FAR = 60.0  # a gate of this is open, or shut, to the last bit


@dataclass(frozen=True)
class Sizes:
    """Of the network; the names are those of conveyor's ModelConfig."""

    vocabulary_size: int
    embedding_size: int = 256
    units: int = 512
    output_size: int = 256
    dropout: float = 0.2
    tied: bool = True  # one embedding for source, target and logits


@dataclass(frozen=True)
class Batch:
    """Pairs to learn from, time before batch.

    Attributes:
        source: (T, B).
        lengths: (B,), of the sources.
        target: (L, B), behind their begin.
        positions: (N,), the target steps that count, of L * B.
        labels: (N,), what to predict there.
    """

    source: Tensor
    lengths: Tensor
    target: Tensor
    positions: Tensor
    labels: Tensor

    @classmethod
    def of(cls, inputs: Mapping[str, np.ndarray]) -> Batch:
        """From the arrays that conveyor trains on (`conveyor.seq2seq` documents them), trimmed."""
        source, target = inputs["source"], inputs["target"]
        pairs = int((source != PADDING).any(axis=1).sum())
        lengths = (source[:pairs] != PADDING).sum(axis=1)
        steps = int((target[:pairs] != PADDING).sum(axis=1).max())
        counts = inputs["labels"] != PADDING
        row, step = np.divmod(inputs["positions"][counts], target.shape[1])
        return cls(
            torch.tensor(source[:pairs, : lengths.max()].T.astype("int64")),
            torch.tensor(lengths),
            torch.tensor(target[:pairs, :steps].T.astype("int64")),
            torch.tensor((step * pairs + row).astype("int64")),
            torch.tensor(inputs["labels"][counts].astype("int64")),
        )


class Encoder(nn.Module):
    """A bidirectional LSTM over padded sentences, as exact as over each alone.

    The vectors have one feature more: 1 where there is padding. Its weights shut the input gate
    and open the forget gate, so the last cell state is that of the last token; their gradients
    are zero, as saturated gates have none.
    """

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.forward_lstm = nn.LSTM(features + 1, units)
        self.backward_lstm = nn.LSTM(features + 1, units)
        for lstm in (self.forward_lstm, self.backward_lstm):
            begin_well(lstm)
            with torch.no_grad():
                flag = torch.zeros(4 * units)
                flag[:units], flag[units : 2 * units] = -_FAR, _FAR
                lstm.weight_ih_l0[:, -1] = flag

    def forward(self, vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(T, B, F) to hidden states (T, B, 2U), and the last hidden and cell state (B, 2U)."""
        steps, pairs, _ = vectors.shape
        step = torch.arange(steps)[:, None]
        pad = step >= lengths
        vectors = vectors.masked_fill(pad[:, :, None], 0.0)
        vectors = torch.cat([vectors, pad[:, :, None].to(vectors.dtype)], dim=-1)
        row = torch.arange(pairs)
        reverse = (torch.where(pad, step, lengths - 1 - step) * pairs + row).flatten()
        last = (lengths - 1) * pairs + row

        def rows(states: Tensor, chosen: Tensor) -> Tensor:
            return states.reshape(steps * pairs, -1).index_select(0, chosen)

        there, (_, cell) = self.forward_lstm(vectors)
        back, (_, cell_back) = self.backward_lstm(rows(vectors, reverse).view(steps, pairs, -1))
        hidden = torch.cat([rows(there, last), rows(back, last)], dim=-1)
        back = rows(back, reverse).view(steps, pairs, -1)
        both = torch.cat([there, back], dim=-1)
        return both, hidden, torch.cat([cell[0], cell_back[0]], dim=-1)


class Translator(nn.Module):
    """Encoder, projected bridge, decoder, Luong's general attention, logits."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        features, units = sizes.embedding_size, sizes.units
        self.target_embedding = embedding(sizes)
        self.source_embedding = self.target_embedding if sizes.tied else embedding(sizes)
        self.encoder = Encoder(features, units // 2)
        self.bridge_hidden, self.bridge_cell = nn.Linear(units, units), nn.Linear(units, units)
        self.decoder = nn.LSTM(features, units)
        begin_well(self.decoder)
        self.keys = nn.Linear(units, units, bias=False)
        self.combine = nn.Linear(2 * units, sizes.output_size, bias=False)
        self.logits = nn.Linear(sizes.output_size, sizes.vocabulary_size)
        nn.init.zeros_(self.logits.bias)
        for linear in (self.bridge_hidden, self.bridge_cell, self.keys, self.combine):
            nn.init.xavier_uniform_(linear.weight)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
        if sizes.tied:
            self.logits.weight = self.target_embedding.weight

    def drop(self, values: Tensor) -> Tensor:
        """Dropout of whole features of a sequence: (T, B, F)."""
        rate = self.sizes.dropout
        if not self.training or not rate:
            return values
        mask = torch.rand(values.shape[1:], dtype=torch.float32) >= rate
        return values * (mask.to(values.dtype) * (1 / (1 - rate)))

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states (T, B, U), and the states (B, U) that the decoder begins with."""
        vectors = self.drop(self.source_embedding(source))
        memory, hidden, cell = self.encoder(vectors, lengths)
        return memory, torch.tanh(self.bridge_hidden(hidden)), self.bridge_cell(cell)

    def forward(self, batch: Batch) -> Tensor:
        """The logits (N, V) of the steps that count."""
        memory, hidden, cell = self.encode(batch.source, batch.lengths)
        read = self.drop(self.target_embedding(batch.target))
        states, _ = self.decoder(read, (hidden[None], cell[None]))
        return self.write(states, memory, batch.lengths, batch.positions)

    def write(self, states: Tensor, memory: Tensor, lengths: Tensor, positions: Tensor) -> Tensor:
        """All that comes after the LSTMs."""
        steps, pairs, _ = states.shape
        mask = torch.where(torch.arange(len(memory)) < lengths[:, None], 0.0, -1e9)
        memory = memory.transpose(0, 1)
        queries = F.linear(states, self.keys.weight.t()).transpose(0, 1)  # (h W) s = h (W s)
        scores = torch.baddbmm(
            mask.to(queries.dtype)[:, None], queries, memory.transpose(1, 2).to(queries.dtype)
        )
        context = torch.bmm(scores.softmax(dim=-1).to(memory.dtype), memory)  # (B, L, U)
        both = torch.cat([context.transpose(0, 1), states], dim=-1)
        vectors = self.drop(torch.tanh(self.combine(both)))
        chosen = vectors.reshape(steps * pairs, -1).index_select(0, positions)
        return self.logits(chosen)


def begin_well(lstm: nn.LSTM) -> None:
    """Glorot, orthogonal, and forget gates that are open, as Keras begins."""
    units = lstm.hidden_size
    with torch.no_grad():
        nn.init.xavier_uniform_(lstm.weight_ih_l0)
        nn.init.orthogonal_(lstm.weight_hh_l0)
        lstm.bias_ih_l0.zero_()
        lstm.bias_hh_l0.zero_()
        lstm.bias_ih_l0[units : 2 * units] = 1.0


def embedding(sizes: Sizes) -> nn.Embedding:
    """Of a size that a softmax can start with, as it makes the logits, too."""
    layer = nn.Embedding(sizes.vocabulary_size, sizes.embedding_size)
    nn.init.normal_(layer.weight, std=sizes.embedding_size**-0.5)
    return layer


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Label smoothing of 0.1, mean over the tokens."""
    return F.cross_entropy(logits.float(), labels, label_smoothing=0.1)


class Trainer:
    """One step of Adam after the other.

    Args:
        translator: learns in place.
        bfloat16: under autocast.
        compiled: all that is not an LSTM; shapes are symbols, so it compiles once.
    """

    def __init__(
        self, translator: nn.Module, *, bfloat16: bool = False, compiled: bool = False
    ) -> None:
        self.translator = translator.train()
        self._weights = list(translator.parameters())
        self._bfloat16 = bfloat16
        self._loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
        if compiled:
            translator.write = torch.compile(translator.write, dynamic=True)  # type: ignore[union-attr]
            self._loss = torch.compile(cross_entropy, dynamic=True)
        self.optimizer = self.make_optimizer(self._weights)

    def make_optimizer(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(weights, lr=2e-3, betas=(0.9, 0.99), fused=True)

    def step(self, batch: Any, rate: float = 2e-3) -> float:
        """Learn from a batch; returns its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            logits = self.translator(batch)
        loss = self._loss(logits, batch.labels)
        loss.backward()
        nn.utils.clip_grad_norm_(self._weights, 1.0, foreach=True)
        self.optimizer.step()
        return loss.item()


def from_conveyor(weights: Mapping[str, np.ndarray], sizes: Sizes) -> Translator:
    """The translator that has the weights of conveyor's, given by their paths in its model."""
    translator = Translator(sizes)
    state = translator.state_dict()

    def put(name: str, value: np.ndarray) -> None:
        # PyTorch's matrices are transposed; the columns of the flag stay as they are.
        rows = torch.from_numpy(np.ascontiguousarray(value.T if value.ndim == 2 else value))
        state[name][..., : rows.shape[-1]] = rows

    for name, path in _LINEARS.items():
        put(f"{name}.weight", weights[f"{path}/kernel"])
        if f"{path}/bias" in weights:
            put(f"{name}.bias", weights[f"{path}/bias"])
    for name, path in _LSTMS.items():
        put(f"{name}.weight_ih_l0", weights[f"{path}/lstm_cell/kernel"])
        put(f"{name}.weight_hh_l0", weights[f"{path}/lstm_cell/recurrent_kernel"])
        put(f"{name}.bias_ih_l0", weights[f"{path}/lstm_cell/bias"])
    put("target_embedding.weight", weights["target_embedding/embeddings"].T)
    put("logits.bias", weights["logit_bias"])
    translator.load_state_dict(state)
    return translator


_LINEARS = {
    "bridge_hidden": "bridge/hidden_state_1",
    "bridge_cell": "bridge/cell_state_1",
    "keys": "decoder/attention/keys",
    "combine": "decoder/combine",
}
_LSTMS = {
    "encoder.forward_lstm": "encoder/bidirectional_lstm/forward_lstm",
    "encoder.backward_lstm": "encoder/bidirectional_lstm/backward_lstm",
    "decoder": "decoder/lstm",
}
