// What sepalctl can do: one function per command, each returning the exit status. What they share stands here.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "agent/kernel.hpp"
#include "agent/names.hpp"
#include "agent/options.hpp"
#include "agent/output.hpp"
#include "agent/paths.hpp"
#include "config/read.hpp"

namespace sepal::agent {

struct Command {
  Options options;
  Paths paths;
  Output output;
  std::string directory;  // of the configuration: the word given, or --config, or /etc/sepal
  Kernel kernel;          // opened when first used
};

int command_validate(const Command& command);
int command_lint(const Command& command);
int command_plan(const Command& command);
int command_verify(const Command& command);
int command_apply(const Command& command);
int command_remove(const Command& command);
int command_status(const Command& command);
int command_reload(const Command& command);
int command_show(const Command& command);
int command_drops(const Command& command);
int command_drops_follow(const Command& command);
int command_offload(const Command& command);
int command_connections(const Command& command);
int command_explain(const Command& command);
int command_nic(const Command& command);
int command_doctor(const Command& command);

// Reads the configuration or says what is wrong with it (then: nullopt, and the exit status is kExitInvalid).
std::optional<config::Config> read_or_complain(const Command& command);
// Says what went wrong, in text or as {"error": …}; returns kExitError.
int complain(const Command& command, const Error& error);

// The tenant of --tenant: by name, or by VNI, so that it works without a configuration. nullopt: explained already.
std::optional<Vni> tenant_given(const Command& command, const Names& names);

// The same where the option may be left out: then `only` is nothing. False: explained already.
bool tenant_asked(const Command& command, const Names& names, std::optional<Vni>& only);

// Prints what a daemon did in our place and returns the exit status it gives.
int relay(const Command& command, const nlohmann::json& reply);

// A rule's place in hardware or not, in the fields that `show`, `offload` and `explain` have in common.
struct Placed;
void put_placed(nlohmann::json& out, const Placed& placed);

// The configuration for names only: a missing or invalid one is no fault, there are just no names.
std::optional<config::Config> read_for_names(const Command& command);

}  // namespace sepal::agent
