"""Text to text with LSTMs: translators and chatbots, their training, and their use."""

from . import dates as dates
from ._attention import Attention as Attention
from ._bridge import Bridge as Bridge
from ._characters import Characters as Characters
from ._characters import fold as fold
from ._config import Config as Config
from ._config import DataConfig as DataConfig
from ._config import ModelConfig as ModelConfig
from ._config import SearchConfig as SearchConfig
from ._config import TextConfig as TextConfig
from ._config import TrainingConfig as TrainingConfig
from ._decoder import Decoder as Decoder
from ._encoder import Encoder as Encoder
from ._learner import Learner as Learner
from ._model import Seq2Seq as Seq2Seq
from ._pairs import Pair as Pair
