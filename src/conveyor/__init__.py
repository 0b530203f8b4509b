"""conveyor: the LSTM of Keras, with every state at every time step.

from conveyor import Input, LSTM

x = Input(shape=(time_steps, features))
hidden_states, cell_states = LSTM(10, outputs=("hidden_states", "cell_states"))(x)
"""

from ._errors import ConveyorError as ConveyorError
from ._errors import without_backend
from ._version import __version__ as __version__

try:
    from keras import Input as Input
except ModuleNotFoundError as error:
    raise without_backend(error) from None

# seq2seq too: keras.saving.load_model must know its classes after `import conveyor`.
from . import callbacks as callbacks
from . import ops as ops
from . import seq2seq as seq2seq
from ._engines import engines as engines
from .inspection import explain as explain
from .inspection import find_nonfinite as find_nonfinite
from .inspection import gradient_flow as gradient_flow
from .inspection import health as health
from .inspection import memory as memory
from .inspection import trace as trace
from .layers import LSTM as LSTM
from .layers import LSTMCell as LSTMCell

__all__ = [
    "LSTM",
    "ConveyorError",
    "Input",
    "LSTMCell",
    "callbacks",
    "engines",
    "explain",
    "find_nonfinite",
    "gradient_flow",
    "health",
    "memory",
    "ops",
    "seq2seq",
    "trace",
]
