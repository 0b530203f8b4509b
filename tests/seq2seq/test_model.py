"""The model: its parts against their formulas, all at once against one step at a time."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import conveyor
from conveyor import ConveyorError
from conveyor.layers import Compiled
from conveyor.seq2seq import Attention, Characters, Config, ModelConfig, Seq2Seq
from conveyor.seq2seq._encoder import Encoded
from frameworks import assert_close, to_numpy

from .models import KINDS, LETTERS, small, targets, tokens


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_is_all_at_once(kind: str, rng: np.random.Generator) -> None:
    model = small(kind)
    source, target = tokens(rng, [5, 3, 1]), targets(rng, [4, 4, 2])
    logits = to_numpy(model({"source": source, "target": target}))
    run = Compiled(model.step, weights_of=[model])
    memory, state = Compiled(model.begin, weights_of=[model])(source)
    for step in range(target.shape[1]):
        one, state, weights = run(target[:, step], memory, state)
        counts = target[:, step] != 0
        assert_close(to_numpy(one)[counts], logits[counts, step], scale=10)
        assert to_numpy(weights).shape == source.shape


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind: str, rng: np.random.Generator) -> None:
    model = small(kind)
    source, target = tokens(rng, [5, 3]), targets(rng, [4, 2])
    alone = to_numpy(model({"source": source[1:, :3], "target": target[1:, :3]}))
    wide = [np.pad(a, [(0, 0), (0, 4)]) for a in (source, target)]
    together = to_numpy(model({"source": wide[0], "target": wide[1]}))
    assert_close(together[1:, :3], alone, scale=10)


def test_targets_of_one_source_share_its_memory(rng: np.random.Generator) -> None:
    model = small("all")
    source, words = tokens(rng, [4, 2]), np.array([5, 6, 7, 8, 9, 10], "int32")
    memory, state = model.begin(source)
    thrice = keras.tree.map_structure(lambda a: ops.repeat(a, 3, axis=0), state)
    logits, _, weights = model.step(words, memory, thrice)
    for row in range(6):
        own = keras.tree.map_structure(lambda a, row=row: a[row // 3 :][:1], (memory, state))
        alone, _, alone_weights = model.step(words[row : row + 1], *own)
        assert_close(logits[row], to_numpy(alone)[0])
        assert_close(weights[row], to_numpy(alone_weights)[0])


@pytest.mark.parametrize("kind", ["dot", "general", "concat", "additive"])
@pytest.mark.parametrize("coverage", [False, True])
def test_attention_is_its_formula(kind: str, coverage: bool, rng: np.random.Generator) -> None:
    config = ModelConfig(
        attention=kind, coverage=coverage, units=4, embedding_size=4, output_size=4,
        attention_size=3,
    )  # fmt: skip
    attention = Attention(config)
    attention.build()
    attention.set_weights([rng.normal(size=w.shape) for w in attention.get_weights()])
    h, s, a = rng.normal(size=4), rng.normal(size=(5, 4)), rng.random(5)
    named = {w.path.split("/", 1)[1]: to_numpy(w.value) for w in attention.weights}
    w_s, w_h, v = (named.get(f"{name}/kernel") for name in ("keys", "queries", "scores"))
    bias, w_a = named.get("queries/bias", 0), named.get("coverage", np.zeros(1)) * coverage
    scores = {
        "dot": lambda: s @ h + w_a * a,
        "general": lambda: s @ w_s @ h + w_a * a,
        "concat": lambda: (np.tanh(h @ w_h + s @ w_s + a[:, None] * w_a) @ v)[:, 0],
        "additive": lambda: (np.tanh(h @ w_h + s @ w_s + bias + a[:, None] * w_a) @ v)[:, 0],
    }[kind]()[:3]
    expected = np.exp(scores) / np.exp(scores).sum()
    encoded = Encoded(ops.cast(s[None], "float32"), np.arange(5)[None] < 3, [])
    context, weights = attention(
        ops.cast(h[None, None], "float32"),
        attention.memory(encoded),
        ops.cast(a[None, None], "float32") if coverage else None,
    )
    assert_close(weights[0, 0], np.array([*expected, 0, 0]))
    assert_close(context[0, 0], expected @ s[:3])


@pytest.mark.parametrize("kind", ["no attention", "all", "general, 2 layers"])
def test_a_saved_model_is_the_same(kind: str, rng: np.random.Generator, tmp_path) -> None:
    model = small(kind)
    inputs = {"source": tokens(rng, [5, 3]), "target": targets(rng, [4, 2])}
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.config == model.config
    assert loaded.source.to_dict() == LETTERS.to_dict()
    np.testing.assert_array_equal(to_numpy(loaded(inputs)), to_numpy(model(inputs)))


def test_fits_as_any_keras_model(rng: np.random.Generator) -> None:
    keras.utils.set_random_seed(0)
    model = Seq2Seq(LETTERS, LETTERS, Config(model=ModelConfig(units=32, dropout=0.0)))
    source = tokens(rng, [3] * 16)
    target = np.concatenate([source, np.full((16, 1), 2, "int32")], axis=1)
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0),
    )
    shifted = np.concatenate([np.ones((16, 1), "int32"), target[:, :-1]], axis=1)
    inputs = {"source": source, "target": shifted}
    losses = model.fit(inputs, target, epochs=25, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]


def test_bfloat16_is_close(rng: np.random.Generator) -> None:
    model = small()
    half = Seq2Seq(LETTERS, LETTERS, model.config, dtype="mixed_bfloat16")
    half.set_weights([w / 3 for w in model.get_weights()])
    model.set_weights(half.get_weights())
    inputs = {"source": tokens(rng, [5, 3]), "target": targets(rng, [4, 2])}
    logits = half(inputs)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert_close(logits, to_numpy(model(inputs)), "bfloat16")


def test_dropout_is_on_in_training_only(rng: np.random.Generator) -> None:
    for kind in ("general, 2 layers", "all"):
        model = small(kind, dropout=0.5)
        inputs = {"source": tokens(rng, [5, 3]), "target": targets(rng, [4, 2])}
        first, second = (to_numpy(model(inputs, training=True)) for _ in range(2))
        assert np.abs(first - second).max() > 0.01
        np.testing.assert_array_equal(to_numpy(model(inputs)), to_numpy(model(inputs)))


def test_two_vocabularies_cannot_share_an_embedding() -> None:
    with pytest.raises(ConveyorError, match='tied_embeddings="target"'):
        Seq2Seq(Characters("ab"), Characters("abc"))


@pytest.mark.parametrize("kind", ["general, 2 layers", "input feeding"])
def test_trace_sees_every_layer(kind: str, rng: np.random.Generator) -> None:
    pytest.importorskip("xarray")
    tree = conveyor.trace(small(kind), {"source": tokens(rng, [4]), "target": targets(rng, [2])})
    assert any("encoder" in node.path for node in tree.leaves)
    assert any("decoder" in node.path for node in tree.leaves)
