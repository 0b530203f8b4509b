"""What is trained: a model, its loss on real tokens only, and what to say of it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ..ops import linear_cross_entropy
from ._arrays import Array
from ._characters import BEGIN, PADDING
from ._config import TrainingConfig
from ._model import Seq2Seq


class Learner(keras.Model):
    """A `Seq2Seq` with the loss of its training: cross entropy of each target token.

    Its inputs are those of a `Batch`: logits are only made where a token is to be predicted,
    so padding costs nothing. `fit` and `train_on_batch` take the inputs and no targets; they
    report `loss` (with label smoothing, Szegedy et al. 2016) and `nll`, the cross entropy of
    which perplexity is the exponential, both per target token.

    Args:
        seq2seq: learns in place.
        config: `label_smoothing`, `scheduled_sampling`, `seed`.
    """

    def __init__(self, seq2seq: Seq2Seq, config: TrainingConfig) -> None:
        super().__init__(name="learner", dtype=seq2seq.dtype_policy)
        self.seq2seq = seq2seq
        self._label_smoothing = config.label_smoothing
        self._means = [keras.metrics.Mean(name="loss"), keras.metrics.Mean(name="nll")]
        # The share of tokens that the decoder reads of its own; the training sets it.
        self.sampling_share: Any = None
        if config.scheduled_sampling:
            self.sampling_share = self.add_weight(
                shape=(), initializer="zeros", trainable=False, name="sampling_share"
            )
            self._seeds = keras.random.SeedGenerator(config.seed)
        self.built = True

    def call(self, inputs: dict[str, Array], training: bool = False) -> Array:
        """Losses summed, cross entropies summed, how many tokens: (3,)."""
        if self.sampling_share is not None and training:
            inputs = {**inputs, "target": self._with_own_tokens(inputs)}
        vectors = self.seq2seq.vectors(inputs, training=training)
        kernel, bias = self.seq2seq.output_weights()
        loss, cross_entropies, count = linear_cross_entropy(
            vectors,
            ops.cast(kernel, vectors.dtype),
            ops.cast(bias, "float32"),
            inputs["labels"],
            label_smoothing=self._label_smoothing,
        )
        return ops.stack([loss, ops.sum(cross_entropies), count])

    def _with_own_tokens(self, inputs: dict[str, Array]) -> Array:
        """The target with some tokens replaced by those that the model would have written.

        Scheduled sampling (Bengio et al. 2015) in two passes (Mihaylova & Martins 2019,
        doi:10.18653/v1/P19-2049): what the model writes after the true tokens takes their place
        here and there, and the second pass learns from that.
        """
        target = inputs["target"]
        logits = self.seq2seq.logits(ops.stop_gradient(self.seq2seq.vectors(inputs)))
        written = ops.cast(ops.argmax(logits, axis=-1), "int32")
        counts = ops.not_equal(target, PADDING)
        place = ops.cumsum(ops.reshape(ops.cast(counts, "int32"), (-1,))) - 1
        own = ops.reshape(ops.take(written, place, axis=0), ops.shape(target))
        own = ops.concatenate([target[:, :1], own[:, :-1]], axis=1)
        drawn = keras.random.uniform(ops.shape(target), seed=self._seeds)
        own_instead = ops.logical_and(counts, drawn < self.sampling_share)
        begins = ops.equal(target, BEGIN)
        return ops.where(ops.logical_and(own_instead, ops.logical_not(begins)), own, target)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Array:
        """Per token of a full batch: batches that are less full weigh less, as they should."""
        return y_pred[0] / x["labels"].shape[0]

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Means since the last reset, per target token."""
        for n, mean in enumerate(self._means):
            mean.update_state(y_pred[n] / ops.maximum(y_pred[2], 1), sample_weight=y_pred[2])
        return self.get_metrics_result()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Loss and cross entropy."""
        return self._means
