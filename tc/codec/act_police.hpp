// What the kernel makes of a police action's burst; the bytes are in act_police.cpp.
#pragma once

#include "tc/rule/action.hpp"

namespace sepal::tc {

// A burst is kept as the time it takes at the rate, in whole 64 ns, rounded up here: the burst that will be given back.
// Equal to what went in up to 15,625,000 bytes or packets per second.
Police police_as_kept(Police police);

}  // namespace sepal::tc
