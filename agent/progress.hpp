// What a long pass calls between its pieces.
#pragma once

#include <functional>

namespace sepal::agent {

// Keeps the watchdog and clients served; may be empty. False: stop at the next safe point (every rule is in place or
// not at all; the next pass completes the work).
using Progress = std::function<bool()>;

}  // namespace sepal::agent
