// Random rules for round trips: every key, every action, every field of each, values without symmetry. What comes out
// is always something encode_add takes; with `kernel_accepts`, something a kernel takes, too.
#pragma once

#include <random>
#include <vector>

#include "tc/rule/rule.hpp"

namespace sepal::tc {

struct GeneratorOptions {
  uint64_t seed = 1;
  std::vector<IfIndex> devices = {IfIndex(7), IfIndex(0x1234)};  // where filters stand and redirects lead
  std::vector<Bpf> programs;                                     // empty: no act_bpf
  bool kernel_accepts = false;
};

class RuleGenerator {
 public:
  explicit RuleGenerator(GeneratorOptions options) : options_(std::move(options)), random_(options_.seed) {}
  Rule rule();
  Cookie cookie();
  Match match(uint16_t& protocol);
  Action action(bool may_be_shared);

 private:
  uint64_t bits(unsigned count);
  bool coin() { return bits(1) != 0; }
  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }
  IpAddr address(Family family);
  Verdict verdict();
  void maybe(Match& match, Key key);  // with a random mask, half of the time
  void maybe_prefix(Match& match, Key ipv4_key, Family family);
  ActionKind kind();
  Pedit pedit();
  Ct ct();
  Police police();

  GeneratorOptions options_;
  std::mt19937_64 random_;
  uint32_t next_handle_ = 1;
  uint32_t next_index_ = 100'000;  // far from the numbers a kernel hands out
};

}  // namespace sepal::tc
