// A fresh user and network namespace for the rest of the process: tests against a real kernel never touch the host's
// devices, and need no root.
#pragma once

#include <string>

#include "base/result.hpp"

namespace sepal::test {

// Must be called before the process starts a thread. Inside, the process has every capability over the new namespace,
// and a /sys of that namespace where mounting it is possible. Errc::unsupported with the reason where the host does not
// allow it: the test is to be skipped with that text.
Result<void> enter_network_namespace();

}  // namespace sepal::test
