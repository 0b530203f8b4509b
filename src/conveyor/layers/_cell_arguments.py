"""The arguments of the cell, readable on the layer, as in Keras."""

from __future__ import annotations

from typing import Any


def _of_the_cell(name: str) -> Any:
    return property(lambda self: getattr(self.cell, name), doc=f"`{name}` of the cell.")


class CellArguments:
    """What a layer passed on to its `cell`."""

    units = _of_the_cell("units")
    activation = _of_the_cell("activation")
    recurrent_activation = _of_the_cell("recurrent_activation")
    use_bias = _of_the_cell("use_bias")
    unit_forget_bias = _of_the_cell("unit_forget_bias")
    kernel_initializer = _of_the_cell("kernel_initializer")
    recurrent_initializer = _of_the_cell("recurrent_initializer")
    bias_initializer = _of_the_cell("bias_initializer")
    kernel_regularizer = _of_the_cell("kernel_regularizer")
    recurrent_regularizer = _of_the_cell("recurrent_regularizer")
    bias_regularizer = _of_the_cell("bias_regularizer")
    kernel_constraint = _of_the_cell("kernel_constraint")
    recurrent_constraint = _of_the_cell("recurrent_constraint")
    bias_constraint = _of_the_cell("bias_constraint")
    dropout = _of_the_cell("dropout")
    recurrent_dropout = _of_the_cell("recurrent_dropout")
    implementation = _of_the_cell("implementation")
