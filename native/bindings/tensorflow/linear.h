// The ops of the output layer.
#pragma once

namespace conveyor {

// After find_tensorflow().
void register_linear();

}  // namespace conveyor
