"""Text that appears while it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ._batched_search import GroupSearch
from ._config import SearchConfig
from ._ensemble import StepModel
from ._shapes import groups
from ._steps import Plan
from ._tokens import END, REPLACEMENT

# At the end of a text: some bytes of a character; the first half of what Subwords escapes.
_UNFINISHED = f"{REPLACEMENT}\ufdd1"


def tokens_of(
    models: Sequence[StepModel], source: Sequence[int], config: SearchConfig
) -> Iterator[int]:
    """What greedy search, or one sample, writes for a source: each token once it is there."""
    way = Plan(
        "sample" if config.sample else "greedy",
        ngram=config.no_repeat_ngram,
        nucleus=config.sample and config.top_p < 1,
    )
    for group in groups([len(source)], config.batch_tokens):
        search = GroupSearch(models, way, [source], group, config)
        while search.unfinished:
            search.advance(1)
            token = int(search.written[0].tokens[-1][0, 0])
            if token != END:
                yield token


def growing_text(decode: Callable[[list[int]], str], tokens: Iterable[int]) -> Iterator[str]:
    """The text of tokens, piece by piece; a character whose bytes are not all there waits.

    >>> letters = {4: "a", 5: "b"}
    >>> list(growing_text(lambda ids: "".join(letters[i] for i in ids), [4, 5, 4]))
    ['a', 'b', 'a']
    """
    ids: list[int] = []
    shown = text = ""
    for token in tokens:
        ids.append(token)
        text = decode(ids)
        whole = text.rstrip(_UNFINISHED)
        if len(whole) > len(shown) and whole.startswith(shown):
            yield whole[len(shown) :]
            shown = whole
    if text != shown:
        yield text[len(shown) :]
