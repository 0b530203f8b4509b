"""Adam in one pass over memory. Keras's takes about fifteen on PyTorch, which runs eagerly."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.adam import adam


class InOnePass:
    """Before `keras.optimizers.Adam`, or `AdamW`: the same numbers up to rounding."""

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _clip_gradients(self: Any, grads: list[torch.Tensor]) -> list[torch.Tensor]:
        if not self.global_clipnorm or self.clipnorm or self.clipvalue:
            clipped: list[torch.Tensor] = super()._clip_gradients(grads)  # type: ignore[misc]
            return clipped
        norm = torch.nn.utils.get_total_norm(grads)
        if norm.item() <= self.global_clipnorm:
            return grads
        # Not finite, as in Keras, where the norm is not.
        torch._foreach_mul_(grads, self.global_clipnorm / norm + (norm - norm))
        return grads

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _backend_update_step(
        self: Any, grads: list[torch.Tensor], trainable_variables: list[Any], learning_rate: Any
    ) -> None:
        if self.amsgrad or any(v.value.dtype is not torch.float32 for v in trainable_variables):
            for gradient, variable in zip(grads, trainable_variables, strict=True):
                self.update_step(gradient, variable, learning_rate)
            return
        places = [self._get_variable_index(v) for v in trainable_variables]
        steps_done = int(self.iterations)
        # PyTorch adds epsilon to a root that has been corrected for its bias, Keras to one that
        # has not.
        correction = (1 - self.beta_2 ** (steps_done + 1)) ** 0.5
        adam(
            [v.value for v in trainable_variables],
            [g.to(torch.float32).contiguous() for g in grads],
            [self._momentums[n].value for n in places],
            [self._velocities[n].value for n in places],
            [],
            list(torch.full((len(places),), float(steps_done)).unbind()),
            fused=True,
            amsgrad=False,
            beta1=self.beta_1,
            beta2=self.beta_2,
            lr=float(learning_rate),
            weight_decay=0.0,
            eps=self.epsilon / correction,
            maximize=False,
        )

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _update_model_variables_moving_average(self: Any, trainable_variables: list[Any]) -> None:
        both = zip(trainable_variables, self._model_variables_moving_average, strict=True)
        pairs = [(v.value, average.value) for v, average in both if average is not None]
        momentum = self.ema_momentum if int(self.iterations) else 0.0
        torch._foreach_lerp_([a for _, a in pairs], [v for v, _ in pairs], 1.0 - momentum)


def in_one_pass(optimizer: type) -> type:
    # Of the same name: Keras names the variables of an optimizer after its class.
    return type(optimizer.__name__, (InOnePass, optimizer), {})
