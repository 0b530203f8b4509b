"""The same translator as a tutorial writes it: how far tuning takes the one in `_peer.py`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._peer import Batch, Sizes, Trainer, embedding


class PlainTranslator(nn.Module):
    """Packed sequences, batch first, logits at all positions."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        features, units = sizes.embedding_size, sizes.units
        self.embedding = embedding(sizes)
        self.encoder = nn.LSTM(features, units // 2, bidirectional=True, batch_first=True)
        self.bridge_hidden, self.bridge_cell = nn.Linear(units, units), nn.Linear(units, units)
        self.decoder = nn.LSTM(features, units, batch_first=True)
        self.keys = nn.Linear(units, units, bias=False)
        self.combine = nn.Linear(2 * units, sizes.output_size, bias=False)
        self.logits = nn.Linear(sizes.output_size, sizes.vocabulary_size)
        self.logits.weight = self.embedding.weight
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B * L, V)."""
        source, target = batch.source.t(), batch.target.t()
        packed = nn.utils.rnn.pack_padded_sequence(
            self.dropout(self.embedding(source)),
            batch.lengths,
            batch_first=True,
            enforce_sorted=False,
        )
        packed, (hidden, cell) = self.encoder(packed)
        memory, _ = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
        hidden, cell = (torch.cat([s[0], s[1]], dim=-1)[None] for s in (hidden, cell))
        begin = (torch.tanh(self.bridge_hidden(hidden)), self.bridge_cell(cell))
        states, _ = self.decoder(self.dropout(self.embedding(target)), begin)
        scores = torch.bmm(states, self.keys(memory).transpose(1, 2))
        scores = scores.masked_fill((source == 0)[:, None], float("-inf"))
        context = torch.bmm(F.softmax(scores, dim=-1), memory)
        vectors = torch.tanh(self.combine(torch.cat([context, states], dim=-1)))
        return self.logits(self.dropout(vectors)).flatten(0, 1)


class PlainTrainer(Trainer):
    """`torch.optim.Adam` as it comes, padding left out by `ignore_index`."""

    def make_optimizer(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(weights, lr=2e-3)

    def step(self, batch: Batch, rate: float = 2e-3) -> float:
        """Learn from a batch; returns its loss."""
        labels = torch.zeros(batch.target.numel(), dtype=torch.long)
        labels[batch.positions] = batch.labels
        labels = labels.view(batch.target.shape).t().flatten()
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            logits = self.translator(batch)
            loss = F.cross_entropy(logits, labels, ignore_index=0, label_smoothing=0.1)
        loss.backward()
        nn.utils.clip_grad_norm_(self._weights, 1.0)
        self.optimizer.step()
        return loss.item()
