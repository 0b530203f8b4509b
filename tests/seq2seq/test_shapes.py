"""Every source is in one group, and no group is larger than it may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.seq2seq._shapes import fewer_rows, groups, leave_at

pytestmark = pytest.mark.any_backend


@pytest.fixture(params=[False, True], ids=["exact shapes", "few shapes"], autouse=True)
def compiles(request, monkeypatch):
    monkeypatch.setattr("conveyor.seq2seq._shapes._compiles", lambda: request.param)
    return request.param


lengths = st.lists(st.integers(0, 60) | st.integers(0, 12_000), max_size=60)


@pytest.mark.usefixtures("compiles")
@given(lengths, st.integers(1, 5000))
def test_all_sources_in_order_of_length(lengths, most):
    found = list(groups(lengths, most))
    members = [n for group in found for n in group.members]
    assert sorted(members) == [n for n, length in enumerate(lengths) if length]
    assert [lengths[n] for n in members] == sorted(filter(None, lengths), reverse=True)
    for group in found:
        longest = max(lengths[n] for n in group.members)
        assert longest <= group.length <= max(16, 2 * longest)
        assert len(group.members) <= group.rows
        assert group.rows == 1 or group.rows * max(16, group.length) <= most


def test_few_shapes(compiles):
    for texts in (1, 40, 1000, 20_000):
        ends = {
            (group.rows, group.length) for group in groups([1 + n % 60 for n in range(texts)], 4096)
        }
        assert len(ends) <= (6 if compiles else 300)
    assert [group.length for group in groups([10_000, 513], 4096)] == (
        [10_240, 1024] if compiles else [10_000, 513]
    )


@given(st.integers(1, 2000), st.data())
def test_those_that_stay_find_room(rows, data):
    left = leave_at(rows)
    assert 0 <= left < rows
    sources = data.draw(st.integers(1, rows))
    fewer = fewer_rows(rows, sources)
    assert sources <= fewer <= rows
    if sources <= left:
        assert fewer < rows
