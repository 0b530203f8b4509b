"""Text to text with LSTMs: a translator, its training, and the corpus of the demo."""

from . import dates as dates
from ._characters import Characters as Characters
from ._characters import fold as fold
from ._config import Config as Config
from ._decoder import Decoder as Decoder
from ._encoder import Encoder as Encoder
from ._model import Translator as Translator
from ._pairs import Pair as Pair
from ._scoring import Mistake as Mistake
from ._scoring import Score as Score
from ._scoring import score as score
from ._search import GreedySearch as GreedySearch
from ._search import greedy as greedy
from ._training import Training as Training
from ._training import train as train

__all__ = [
    "Characters",
    "Config",
    "Decoder",
    "Encoder",
    "GreedySearch",
    "Mistake",
    "Pair",
    "Score",
    "Training",
    "Translator",
    "dates",
    "fold",
    "greedy",
    "score",
    "train",
]
