// A filter as a look over the whole kernel needs it: its place, whose it is, whether hardware may hold it. Read from a
// terse dump without building a value of anything else; on a restart this is what most of the time would go into.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/result.hpp"
#include "tc/rule/rule.hpp"

namespace sepal::tc {

struct TerseFilter {
  RuleId id;
  std::string_view kind;         // points into the message
  std::optional<Cookie> cookie;  // of the last action, when it is sepal's; of anything but "flower" none
  bool skip_hw = false;
  bool in_hw = false;    // some hardware took it
  uint64_t packets = 0;  // what its last action has counted, in software and in hardware
  // See DecodedFilter::is_head().
  [[nodiscard]] bool is_head() const { return id.handle == 0; }
};

// Takes the same messages as decode_filter (flower.hpp), full ones included, and says the same of what it tells.
// Errc::protocol: malformed on the way to that; what it steps over is not looked into.
Result<TerseFilter> decode_terse(std::span<const uint8_t> message);

}  // namespace sepal::tc
