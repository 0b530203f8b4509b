"""The demo's corpus: dates as people write them in 40 languages, and their ISO 8601 form.

Nothing is downloaded. Formats and names are Unicode CLDR's, as `babel` carries them. All dates
are Gregorian, from 1950 to 2049, and in the digits that CLDR gives for the language:
`٤ مارس ٢٠٢٥`, not `4 مارس 2025`.

**Which formats count.** All of CLDR's `full`, `long` and `medium` ones, and those `short` ones
that can be read by someone who does not know the language. Such a format

1. writes the century: `04.03.25` does not;
2. tells the day from the month: it names the month; or it begins with the year, which every
   locale of CLDR follows with the month; or it separates with anything but slashes, and then
   every locale of CLDR puts the day first. `3/4/2025` is in March in Boston, in April in Dublin.

The tests hold CLDR to both statements about its locales, and the corpus to the purpose of the
rule: no text stands for two dates.

**Which dates are held out.** One in ten, chosen by a checksum of the date alone. A held-out
date is absent from training in every language and under every seed, so reading it is reading
and not memory.
"""

from __future__ import annotations

import datetime
import functools
import random
import re
import zlib
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

from ._config import Config, DataConfig, ModelConfig, SearchConfig, TextConfig, TrainingConfig
from ._pairs import Pair

Style = Literal["full", "long", "medium", "short"]
STYLES: Final[tuple[Style, ...]] = get_args(Style)

FIRST_DATE: Final = datetime.date(1950, 1, 1)
LAST_DATE: Final = datetime.date(2049, 12, 31)

# Language -> CLDR locales. English is read in the order of both sides of the Atlantic; Arabic
# is Egypt's, as CLDR gives Arabic without a country Latin digits.
LANGUAGES: Final[dict[str, tuple[str, ...]]] = {
    "Amharic": ("am",),
    "Arabic": ("ar_EG",),
    "Armenian": ("hy",),
    "Bangla": ("bn",),
    "Bulgarian": ("bg",),
    "Burmese": ("my",),
    "Chinese": ("zh",),
    "Czech": ("cs",),
    "Dutch": ("nl",),
    "English": ("en_US", "en_GB"),
    "Finnish": ("fi",),
    "French": ("fr",),
    "Georgian": ("ka",),
    "German": ("de",),
    "Greek": ("el",),
    "Hebrew": ("he",),
    "Hindi": ("hi",),
    "Hungarian": ("hu",),
    "Indonesian": ("id",),
    "Italian": ("it",),
    "Japanese": ("ja",),
    "Kazakh": ("kk",),
    "Khmer": ("km",),
    "Korean": ("ko",),
    "Marathi": ("mr",),
    "Persian": ("fa",),
    "Polish": ("pl",),
    "Portuguese": ("pt",),
    "Romanian": ("ro",),
    "Russian": ("ru",),
    "Spanish": ("es",),
    "Swahili": ("sw",),
    "Swedish": ("sv",),
    "Tamil": ("ta",),
    "Telugu": ("te",),
    "Thai": ("th",),
    "Turkish": ("tr",),
    "Ukrainian": ("uk",),
    "Urdu": ("ur",),
    "Vietnamese": ("vi",),
}

# CLDR's name of a numbering system -> its zero; the other nine digits follow it in Unicode.
_ZEROS: Final[dict[str, str]] = {
    "latn": "0",
    "arab": "\N{ARABIC-INDIC DIGIT ZERO}",
    "arabext": "\N{EXTENDED ARABIC-INDIC DIGIT ZERO}",
    "beng": "\N{BENGALI DIGIT ZERO}",
    "deva": "\N{DEVANAGARI DIGIT ZERO}",
    "mymr": "\N{MYANMAR DIGIT ZERO}",
}


class Corpus(NamedTuple):
    """Pairs to learn from, and pairs of other dates to judge by."""

    train: list[Pair]
    held_out: list[Pair]


@dataclass(frozen=True)
class DateFormat:
    """One way to write a date: a pattern of CLDR in a language and its digits."""

    language: str
    style: Style
    pattern: str
    locale: Any  # babel.Locale
    digits: dict[int, str]

    def write(self, date: datetime.date) -> str:
        """The date in this format.

        >>> arabic_long = next(f for f in formats() if (f.language, f.style) == ("Arabic", "long"))
        >>> arabic_long.write(datetime.date(2025, 3, 4))
        '٤ مارس ٢٠٢٥'
        """
        # babel writes Latin digits in every language.
        text: str = _babel().dates.format_date(date, self.pattern, self.locale)
        return text.translate(self.digits)


def corpus(seed: int = 0, *, train: int = 160_000, held_out: int = 4_000) -> Corpus:
    """Pairs drawn afresh from a seed: the same seed gives the same pairs.

    Language, format within the language, and date are each drawn evenly. The tags of a pair
    are its language and its style.

    Args:
        seed: of the draw.
        train: how many pairs to learn from.
        held_out: how many pairs of held-out dates.

    Raises:
        ImportError: babel is missing; the message says how to install it.

    >>> corpus(seed=0, train=1, held_out=1).train
    [Pair(source='18 gennaio 2017', target='2017-01-18', tags=('Italian', 'long'))]
    """
    return Corpus(_draw(train, seed, held_out=False), _draw(held_out, seed, held_out=True))


def config(seed: int = 0) -> Config:
    """The settings that read these dates: two LSTMs, and nothing between them but their states.

    99.85 % to 100 % of 4,000 held-out dates exactly (four seeds).

    >>> config().model.attention
    'none'
    """
    return Config(
        model=ModelConfig(
            embedding_size=32,
            units=128,
            bidirectional=False,
            bridge="last",
            attention="none",
            tied_embeddings="none",
            output_size=128,
            dropout=0.0,
        ),
        text=TextConfig(tokens="characters", shared=False, fold_source=True),
        # 64 pairs: 10 characters each, and the end.
        data=DataConfig(batch_tokens=704, length_buckets=3, seed=seed),
        training=TrainingConfig(
            learning_rate=0.016,
            warmup=0.1,
            label_smoothing=0.0,
            precision="float32",
            epochs=None,
            steps=2_400,
            evaluate_every=300,
            judge_by="exact_match",
            dev_sentences=1_000,
            keep_best=1,
            seed=seed,
        ),
        search=SearchConfig(beam=1, max_length_extra=12),
    )


def is_held_out(date: datetime.date) -> bool:
    """Whether this date is kept from training, always and in every language.

    >>> is_held_out(datetime.date(2025, 3, 4))
    False
    """
    return zlib.crc32(date.isoformat().encode()) % 10 == 0


def is_readable(pattern: str) -> bool:
    """Whether a numeric pattern of CLDR tells century, day and month to any reader.

    >>> is_readable("dd.MM.y"), is_readable("dd.MM.yy"), is_readable("dd/MM/y")
    (True, False, False)
    """
    fields = re.sub(r"'[^']*'", "", pattern)
    writes_century = re.search(r"(?<!y)yy(?!y)", fields) is None
    return writes_century and ("MMM" in fields or fields.startswith("y") or "/" not in fields)


@functools.cache
def formats() -> tuple[DateFormat, ...]:
    """All formats of the corpus. A pattern that a locale has under two styles counts once."""
    found: list[DateFormat] = []
    for language, locales in LANGUAGES.items():
        for name in locales:
            locale = _babel().Locale.parse(name)
            zero = ord(_ZEROS[locale.default_numbering_system])
            digits = {ord("0") + n: chr(zero + n) for n in range(10)} if zero != ord("0") else {}
            patterns: dict[str, Style] = {}
            for style in STYLES:
                pattern = locale.date_formats[style].pattern
                if style != "short" or is_readable(pattern):
                    patterns.setdefault(pattern, style)
            found += [DateFormat(language, s, p, locale, digits) for p, s in patterns.items()]
    return tuple(found)


def _draw(count: int, seed: int, *, held_out: bool) -> list[Pair]:
    by_language: dict[str, list[DateFormat]] = {}
    for date_format in formats():
        by_language.setdefault(date_format.language, []).append(date_format)
    languages = list(by_language.values())
    dates = _calendar(held_out)
    rng = random.Random(f"dates, seed {seed}, held_out {held_out}")
    pairs: list[Pair] = []
    for _ in range(count):
        date, form = rng.choice(dates), rng.choice(rng.choice(languages))
        pairs.append(Pair(form.write(date), date.isoformat(), (form.language, form.style)))
    return pairs


@functools.cache
def _calendar(held_out: bool) -> tuple[datetime.date, ...]:
    days = range(FIRST_DATE.toordinal(), LAST_DATE.toordinal() + 1)
    dates = map(datetime.date.fromordinal, days)
    return tuple(date for date in dates if is_held_out(date) is held_out)


@functools.cache
def _babel() -> Any:
    try:
        import babel.dates
    except ImportError as error:
        raise ImportError(
            "conveyor.seq2seq.dates takes the formats of 40 languages from the package babel; "
            'it is not installed.\nWrite pip install "conveyor[demo]".'
        ) from error
    return babel


__all__ = [
    "FIRST_DATE",
    "LANGUAGES",
    "LAST_DATE",
    "STYLES",
    "Corpus",
    "DateFormat",
    "Style",
    "config",
    "corpus",
    "formats",
    "is_held_out",
    "is_readable",
]
