"""conveyor: the LSTM of Keras, with every state at every time step.

from conveyor import Input, LSTM

x = Input(shape=(time_steps, features))
hidden_states, cell_states = LSTM(10, outputs=("hidden_states", "cell_states"))(x)
"""

from ._errors import ConveyorError as ConveyorError
from ._errors import runs_the_command, without_backend
from ._version import __version__ as __version__

try:
    from keras import Input as Input
except ModuleNotFoundError as error:
    refused = without_backend(error)
    if runs_the_command():  # what to write, and no traceback above it
        raise SystemExit(f"Error: {refused}") from None
    raise refused from None

# seq2seq too: keras.saving.load_model must know its classes after `import conveyor`.
from . import activations as activations
from . import callbacks as callbacks
from . import convert as convert
from . import onnx as onnx
from . import ops as ops
from . import seq2seq as seq2seq
from ._engines import engines as engines
from .checking import check as check
from .inspection import explain as explain
from .inspection import find_nonfinite as find_nonfinite
from .inspection import gradient_flow as gradient_flow
from .inspection import health as health
from .inspection import memory as memory
from .inspection import memory_estimate as memory_estimate
from .inspection import plot_gates as plot_gates
from .inspection import plot_gradient_flow as plot_gradient_flow
from .inspection import plot_memory as plot_memory
from .inspection import plot_saturation as plot_saturation
from .inspection import plot_states as plot_states
from .inspection import report as report
from .inspection import trace as trace
from .inspection import worked_example as worked_example
from .layers import GRU as GRU
from .layers import LSTM as LSTM
from .layers import Bidirectional as Bidirectional
from .layers import GRUCell as GRUCell
from .layers import LSTMCell as LSTMCell
from .layers import accelerate as accelerate
from .layers import acceleration_plan as acceleration_plan
from .layers import patch_keras as patch_keras
from .layers import unpatch_keras as unpatch_keras
from .seq2seq import Translator as Translator
from .streaming import Stream as Stream
from .training import tbptt as tbptt

__all__ = [
    "GRU",
    "LSTM",
    "Bidirectional",
    "ConveyorError",
    "GRUCell",
    "Input",
    "LSTMCell",
    "Stream",
    "Translator",
    "accelerate",
    "acceleration_plan",
    "activations",
    "callbacks",
    "check",
    "convert",
    "engines",
    "explain",
    "find_nonfinite",
    "gradient_flow",
    "health",
    "memory",
    "memory_estimate",
    "onnx",
    "ops",
    "patch_keras",
    "plot_gates",
    "plot_gradient_flow",
    "plot_memory",
    "plot_saturation",
    "plot_states",
    "report",
    "seq2seq",
    "tbptt",
    "trace",
    "unpatch_keras",
    "worked_example",
]
