// A packet's way through the rules, told from the configuration and checked against the kernel: which rule took it in
// each chain, whose it is, where it ran and why there. Computing only; commands_explain.cpp reads the question and
// prints.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/kernel.hpp"
#include "agent/names.hpp"
#include "agent/paths.hpp"
#include "agent/placement.hpp"
#include "config/model.hpp"
#include "policy/tables.hpp"
#include "tc/model/walk.hpp"

namespace sepal::agent {

// What the kernel holds in a rule's place.
enum class Standing : uint8_t { as_wanted, missing, other };
std::string_view to_string(Standing standing);

struct Stop {
  uint32_t chain = 0;
  const tc::CompiledRule* rule = nullptr;  // null: no rule of this chain takes the packet
  Standing standing = Standing::missing;
  Placed placed;                    // where the rule is, as `offload` and `show` say it
  bool ran_in_hw = false;           // on this way
  std::string why;                  // in software, and why; empty in hardware
  std::vector<std::string> before;  // filters of others that see the packet first
};

struct Way {
  std::string title;  // "first packet", "established"
  std::vector<Stop> stops;
  tc::model::Outcome outcome;
  std::vector<std::string> groups;  // what security groups said: "egress of web-0: allowed by group web, …"
};

// Where a packet comes in, and the packet.
struct Question {
  IfIndex device;
  tc::model::Packet packet;
};

struct Explanation {
  std::unique_ptr<tc::RuleSet> rules;  // what `ways` points into
  std::vector<Way> ways;
  std::vector<policy::TenantPolicy> policies;  // of tenants with security groups
  Names names;
  size_t differences = 0;  // stops where the kernel is not as wanted
};

// The world a question is asked in: devices and ports, without any filter.
struct Ground {
  tc::Facts facts;
  std::map<IfIndex, std::string> devices;
};
Result<Ground> survey(Kernel& kernel, const config::Config& config, const Paths& paths);

// Compiles only what can meet the packet, and reads only the chains that it visits.
Result<Explanation> explain(Kernel& kernel, const config::Config& config, const Ground& ground,
                            const Question& question, const Paths& paths);

}  // namespace sepal::agent
