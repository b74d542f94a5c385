// content_hash and match_handle of one rule at once, for who needs both of very many: most of the work is the match's.
#pragma once

#include <cstdint>

#include "tc/rule/rule.hpp"

namespace sepal::tc {

struct RuleHashes {
  uint64_t content = 0;
  uint32_t handle = 0;
};
RuleHashes rule_hashes(const RuleSpec& spec, uint16_t protocol);

}  // namespace sepal::tc
