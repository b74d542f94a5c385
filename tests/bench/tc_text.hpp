// Compiled rules as input of `tc -batch`, in iproute2's own syntax: what an operator's script would feed it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tc/pipeline/pipeline.hpp"

namespace sepal::bench {

struct TcWords {
  std::map<IfIndex, std::string> devices;
  std::string program_path;  // "%s" stands for a program's name: where act_bpf's programs are pinned
  bool cookies = true;       // cookie and no_percpu, as sepal's own messages have them
};

// One `filter add …` per rule, in the order given. Where tc's grammar wants one protocol per priority (it derives
// eth_type from it) the priorities are spread: 3 p, 3 p + 1 for IPv4, 3 p + 2 for IPv6; the order stays.
std::string tc_batch(const std::vector<const tc::CompiledRule*>& rules, const TcWords& words);

}  // namespace sepal::bench
