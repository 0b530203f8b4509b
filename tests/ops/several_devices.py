"""The native engine on two devices of one CPU: `test_native_on_jax_transforms.py` runs it.

A script, as the number of devices is fixed when JAX starts.
"""

from __future__ import annotations

import numpy as np

from cases import Case
from conveyor import ops
from conveyor.ops._lstm import lstms_and_decisions
from grus import GRUCase


def main() -> None:
    lstm = Case(name="devices", batch=4, mask="holes", initial_states=True)
    gru = GRUCase(name="devices", batch=4, mask="holes", initial_state=True)
    for case, run in ((lstm, ops.lstm), (lstm, two_directions), (gru, ops.gru)):
        check(case, run)


def two_directions(**arguments):
    """Their hidden states, from one call of the core."""
    options = {"activation": "tanh", "recurrent_activation": "sigmoid", "outputs": "hidden_states"}
    asked = [{**arguments, **options, "go_backwards": b, "where": "test"} for b in (False, True)]
    ((forward,), _), ((backward,), _) = lstms_and_decisions(asked)
    return forward * backward


def check(case, run) -> None:
    import jax
    from jax.sharding import Mesh, NamedSharding
    from jax.sharding import PartitionSpec as P

    arguments = {n: a for n, a in case.arguments("float32").items() if isinstance(a, np.ndarray)}
    weights = ("kernel", "recurrent_kernel", "bias")
    specs = {name: P() if name in weights else P("rows") for name in arguments}
    assert len(jax.devices()) == 2
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    placed = {n: jax.device_put(a, NamedSharding(mesh, specs[n])) for n, a in arguments.items()}

    def loss(engine, arguments):
        return (run(**arguments, engine=engine) ** 2).sum()

    def slope(function, arguments):
        mask = arguments["mask"]
        arrays = {n: a for n, a in arguments.items() if n != "mask"}
        return jax.jit(jax.value_and_grad(lambda a: function({**a, "mask": mask})))(arrays)

    expected = slope(lambda a: loss("portable", a), arguments)
    mapped = jax.shard_map(
        lambda a: jax.lax.psum(loss("native", a), "rows"),
        mesh=mesh,
        in_specs=(specs,),
        out_specs=P(),
    )
    for function in (lambda a: loss("native", a), mapped):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
            slope(function, placed),
            expected,
        )


if __name__ == "__main__":
    main()
