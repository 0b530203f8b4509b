"""The corpus is CLDR's, unambiguous, reproducible, and fair."""

from __future__ import annotations

import collections
import datetime
import re
import sys
import unicodedata

import pytest

from conveyor.seq2seq import dates, fold

pytestmark = pytest.mark.any_backend

babel = pytest.importorskip("babel", reason="the corpus comes from babel")

MARCH_4 = datetime.date(2025, 3, 4)


def written(date: datetime.date, language: str, style: str) -> list[str]:
    return [
        form.write(date)
        for form in dates.formats()
        if (form.language, form.style) == (language, style)
    ]


@pytest.mark.parametrize(
    ("language", "style", "text"),
    [
        ("French", "full", "mardi 4 mars 2025"),
        ("Portuguese", "long", "4 de março de 2025"),
        ("Chinese", "long", "2025年3月4日"),
        ("Arabic", "long", "٤ مارس ٢٠٢٥"),
        ("Persian", "short", "۲۰۲۵/۳/۴"),
        ("Marathi", "medium", "४ मार्च, २०२५"),
        ("Bangla", "long", "৪ মার্চ, ২০২৫"),
        ("Burmese", "long", "၂၀၂၅ မတ် ၄"),
        ("Thai", "long", "4 มีนาคม ค.ศ. 2025"),
        ("Swedish", "short", "2025-03-04"),
        ("German", "medium", "04.03.2025"),
    ],
)
def test_known_dates(language, style, text):
    assert written(MARCH_4, language, style) == [text]


def test_english_is_read_in_both_orders():
    assert written(MARCH_4, "English", "long") == ["March 4, 2025", "4 March 2025"]


def test_forty_languages_in_many_scripts():
    assert len(dates.LANGUAGES) == 40
    scripts = {
        unicodedata.name(character).split()[0]
        for form in dates.formats()
        for character in form.write(MARCH_4)
        if character.isalpha()
    }
    assert len(scripts) >= 17, scripts


def test_every_full_long_and_medium_format_of_cldr_is_there():
    ours = {(str(form.locale), form.pattern) for form in dates.formats()}
    for names in dates.LANGUAGES.values():
        for name in names:
            formats = babel.Locale.parse(name).date_formats
            for style in ("full", "long", "medium"):
                assert (name, formats[style].pattern) in ours


@pytest.mark.parametrize(
    ("pattern", "readable"),
    [
        ("dd.MM.y", True),
        ("y/M/d", True),
        ("dd-MM-y", True),
        ("d. MMM y", True),
        ("M/d/yy", False),
        ("dd/MM/y", False),
        ("d.MM.yy\u202f'г'.", False),
        ("d 'de' MMM 'de' yy", False),
        ("d MM y 'yy'", True),  # quoted text is no field
    ],
)
def test_which_patterns_are_readable(pattern, readable):
    assert dates.is_readable(pattern) is readable


def test_what_the_rule_says_about_cldr_holds_for_all_of_its_locales():
    checked = 0
    for name in babel.localedata.locale_identifiers():
        for form in babel.Locale.parse(name).date_formats.values():
            fields = re.sub(r"'[^']*'", "", form.pattern)
            order = "".join(dict.fromkeys(c for c in fields if c in "dMy"))
            if "MMM" in fields or "LLL" in fields:
                continue
            if order.startswith("y"):
                assert order == "yMd", (name, form.pattern)
            elif "/" not in fields:
                assert order == "dMy", (name, form.pattern)
            checked += 1
    assert checked > 1000


def test_no_text_stands_for_two_dates():
    # Years whose digits could be a day and a month; one of them has a 29 February.
    meanings = collections.defaultdict(set)
    for year in (2011, 2012):
        for day in range(366 if year == 2012 else 365):
            date = datetime.date(year, 1, 1) + datetime.timedelta(day)
            for form in dates.formats():
                meanings[fold(form.write(date))].add(date)
    assert len(meanings) > 80_000
    assert [text for text, meant in meanings.items() if len(meant) > 1] == []


@pytest.fixture(scope="module")
def corpus():
    return dates.corpus(seed=3, train=20_000, held_out=4_000)


def test_targets_are_the_dates_of_the_sources(corpus):
    for source, target, (language, style) in corpus.held_out[:500]:
        assert source in written(datetime.date.fromisoformat(target), language, style)


def test_no_text_of_the_corpus_stands_for_two_dates(corpus):
    meanings = {}
    for pair in corpus.train + corpus.held_out:
        assert meanings.setdefault(fold(pair.source), pair.target) == pair.target


def test_every_language_and_format_appears(corpus):
    every = {(form.language, form.style) for form in dates.formats()}
    assert {pair.tags for pair in corpus.train} == every
    assert {pair.tags for pair in corpus.held_out} == every


def test_held_out_dates_are_never_trained_on_under_any_seed(corpus):
    trained = {pair.target for pair in corpus.train}
    held_out = {pair.target for pair in corpus.held_out}
    assert not trained & held_out
    other = dates.corpus(seed=4, train=5_000, held_out=0)
    assert not held_out & {pair.target for pair in other.train}


def test_one_date_in_ten_is_held_out():
    days = range(dates.FIRST_DATE.toordinal(), dates.LAST_DATE.toordinal() + 1)
    held_out = sum(dates.is_held_out(datetime.date.fromordinal(day)) for day in days)
    assert held_out / len(days) == pytest.approx(0.1, abs=0.005)


def test_the_seed_decides(corpus):
    assert dates.corpus(seed=3, train=50, held_out=50).train == corpus.train[:50]
    assert dates.corpus(seed=4, train=50, held_out=50).train != corpus.train[:50]


def test_without_babel_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "babel.dates", None)
    monkeypatch.setitem(sys.modules, "babel", None)
    dates._babel.cache_clear()
    with pytest.raises(ImportError, match=r'pip install "conveyor\[demo\]"'):
        dates._babel()
    dates._babel.cache_clear()
