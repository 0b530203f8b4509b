"""Text to text with LSTMs: translators and chatbots, their training, and their use."""

from . import dates as dates
from ._attention import Attention as Attention
from ._batches import Batch as Batch
from ._batches import Batches as Batches
from ._batches import Position as Position
from ._bridge import Bridge as Bridge
from ._characters import Characters as Characters
from ._characters import fold as fold
from ._config import Config as Config
from ._config import DataConfig as DataConfig
from ._config import ModelConfig as ModelConfig
from ._config import SearchConfig as SearchConfig
from ._config import TextConfig as TextConfig
from ._config import TrainingConfig as TrainingConfig
from ._corpus import Corpus as Corpus
from ._corpus import read_pairs as read_pairs
from ._corpus_report import CorpusReport as CorpusReport
from ._decoder import Decoder as Decoder
from ._dialogues import join_turns as join_turns
from ._dialogues import read_chatterbot as read_chatterbot
from ._dialogues import read_dialogues as read_dialogues
from ._encoded import EncodedPairs as EncodedPairs
from ._encoded import encode_pairs as encode_pairs
from ._encoder import Encoder as Encoder
from ._evaluation import Evaluation as Evaluation
from ._hypothesis import BeamTree as BeamTree
from ._hypothesis import Hypothesis as Hypothesis
from ._learner import Learner as Learner
from ._model import Seq2Seq as Seq2Seq
from ._open import read_corpus as read_corpus
from ._pairs import Pair as Pair
from ._scores import PairScore as PairScore
from ._scoring import Mistake as Mistake
from ._scoring import Score as Score
from ._scoring import evaluate as evaluate
from ._scoring import score as score
from ._search import beam_trees as beam_trees
from ._search import search as search
from ._subwords import Subwords as Subwords
from ._training import Training as Training
from ._training import resume as resume
from ._training import train as train
from ._translator import Translation as Translation
from ._translator import Translator as Translator
from ._vocabulary import Vocabulary as Vocabulary
from ._vocabulary import learn_vocabularies as learn_vocabularies
from ._vocabulary import vocabulary_from_dict as vocabulary_from_dict
from ._words import Words as Words

__all__ = [
    "Attention",
    "Batch",
    "Batches",
    "BeamTree",
    "Bridge",
    "Characters",
    "Config",
    "Corpus",
    "CorpusReport",
    "DataConfig",
    "Decoder",
    "EncodedPairs",
    "Encoder",
    "Evaluation",
    "Hypothesis",
    "Learner",
    "Mistake",
    "ModelConfig",
    "Pair",
    "PairScore",
    "Position",
    "Score",
    "SearchConfig",
    "Seq2Seq",
    "Subwords",
    "TextConfig",
    "Training",
    "TrainingConfig",
    "Translation",
    "Translator",
    "Vocabulary",
    "Words",
    "beam_trees",
    "dates",
    "encode_pairs",
    "evaluate",
    "fold",
    "join_turns",
    "learn_vocabularies",
    "read_chatterbot",
    "read_corpus",
    "read_dialogues",
    "read_pairs",
    "resume",
    "score",
    "search",
    "train",
    "vocabulary_from_dict",
]
