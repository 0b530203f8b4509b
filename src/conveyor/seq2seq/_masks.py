"""Layers whose masks are arguments, not marks on tensors."""

from __future__ import annotations

from typing import Any

import keras


class WithOwnMasks(keras.layers.Layer):
    """Takes tensors that carry a mask of Keras's, and passes none on."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """None: what it returns carries no mask."""
