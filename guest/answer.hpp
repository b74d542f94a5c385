// Any question of a guest, answered by whoever it is for.
#pragma once

#include "guest/guest.hpp"

namespace sepal::guest {

Answer answer(FrameView question, const Guest& guest);

}  // namespace sepal::guest
