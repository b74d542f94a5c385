// sepalctl: the operator's hand. Reads the command line, runs one command, ends with its status.
#include <csignal>
#include <iostream>

#include "agent/commands.hpp"
#include "agent/exit_codes.hpp"
#include "agent/open_kernel.hpp"
#include "agent/version.hpp"

namespace {

using namespace sepal;
using namespace sepal::agent;

constexpr std::string_view kHelp = R"(usage: sepalctl COMMAND [DIR] [OPTION...]

A DIR holds the configuration; without one it is /etc/sepal. All commands work while sepald is stopped.

  validate DIR      read the configuration and name every fault in it
  lint DIR          compile it and check the rules against what the NIC can hold
  plan DIR          the difference to the running kernel; --rules: rule by rule
  verify DIR        every rule as the kernel tells it in full, against the configuration
  apply DIR         make the kernel what the configuration says
  show              the rules in the kernel: --tenant NAME|VNI, --group 0..7, --foreign, --config DIR
  drops             what was dropped, by tenant, port and reason, and what security groups decided: --tenant NAME|VNI;
                    --follow: packets as they are dropped, until Ctrl-C; --limit N of them a second (100)
  offload           what is in hardware, what should be and is not, and why; shares of the traffic: --tenant NAME|VNI
  explain PORT PROTOCOL SOURCE[:PORT] DESTINATION[:PORT]
                    the way of such a packet, rule by rule, in hardware or not and why; PORT is TENANT/PORT, a device,
                    uplink [--vlan N] or tunnel --vni N; --ttl N; or PORT --frame HEX
  connections       tracked connections of tenants: --tenant NAME|VNI, --delete, --config DIR
  status            what a running sepald has to say
  reload            have a running sepald read its configuration again
  remove            take everything of this instance out of the kernel, and nothing else
  nic show DIR      the NIC of nic.pci, its VFs and who uses them; --pci ADDRESS: that one, without a configuration
  nic plan DIR      what bringing it up would change
  nic apply DIR     bring it up: switchdev mode, VFs, their MACs, representors; --timeout SECONDS for each wait (60)
  nic reset DIR     put back what was found before the first `nic apply`; --pci ADDRESS as above
  doctor DIR        what keeps this host from forwarding or offloading, with a cure for each; --probe: try every shape of
                    rule on the NIC and take it away again; --bundle FILE: write a support archive (tar)

  --json            for programs; field names are in docs/reference/cli.md
  --instance NAME   which sepald of several (default)
  --run-dir DIR     where locks, sockets and state are (/run/sepal)
  --state-dir DIR   where the records of `nic` are (/var/lib/sepal)
  --help, --version

exit status: 0 ok, 1 error, 2 there is a difference (plan, verify) or a finding (lint), 3 the configuration is invalid,
4 some rules were refused, 5 another writer is at work, 6 something should be in hardware and is not (offload),
64 wrong usage; doctor: 2 warnings, 7 failures
)";

struct Entry {
  std::string_view name;
  int (*run)(const Command&);
  size_t directory_at;  // among the words; 0: takes none
  size_t more_words = 0;
};
constexpr Entry kCommands[] = {
    {"validate", command_validate, 1},  {"lint", command_lint, 1},
    {"plan", command_plan, 1},          {"verify", command_verify, 1},
    {"explain", command_explain, 0, 4}, {"apply", command_apply, 1},
    {"show", command_show, 0},          {"drops", command_drops, 0},
    {"offload", command_offload, 0},    {"connections", command_connections, 0},
    {"status", command_status, 0},      {"reload", command_reload, 0},
    {"remove", command_remove, 0},      {"nic", command_nic, 2},
    {"doctor", command_doctor, 1},
};

int usage_error(std::string_view what) {
  std::cerr << "sepalctl: " << what << "; see sepalctl --help\n";
  return kExitUsage;
}

int run(const std::vector<std::string>& arguments) {
  auto options = Options::parse(
      arguments, {{"--help"},         {"--version"},         {"--json"},          {"--rules"},        {"--foreign"},
                  {"--delete"},       {"--instance", true},  {"--run-dir", true}, {"--tenant", true}, {"--group", true},
                  {"--config", true}, {"--frame", true},     {"--vni", true},     {"--vlan", true},   {"--ttl", true},
                  {"--pci", true},    {"--state-dir", true}, {"--timeout", true}, {"--probe"},        {"--follow"},
                  {"--limit", true},  {"--bundle", true}});
  if (!options) return usage_error(options.error().message());
  if (options->has("--help")) {
    std::cout << kHelp;
    return kExitOk;
  }
  if (options->has("--version")) {
    std::cout << "sepalctl " << kVersion << '\n';
    return kExitOk;
  }
  if (options->words().empty()) return usage_error("which command?");
  const std::string name = options->words().front();
  auto paths = Paths::make(options->value("--instance", kDefaultInstance), options->value("--run-dir", kRunDirectory));
  if (!paths) return usage_error(paths.error().message());
  for (const Entry& entry : kCommands) {
    if (entry.name != name) continue;
    const size_t at = entry.directory_at;
    const size_t words_max = at + 1 + entry.more_words;
    if (options->words().size() > words_max)
      return usage_error("'" + options->words()[words_max] + "' is one word too many");
    if (auto group = options->number("--group", 0, 7); !group) return usage_error(group.error().message());
    if (auto seconds = options->number("--timeout", 1, 3600); !seconds) return usage_error(seconds.error().message());
    std::string directory =
        at != 0 && options->words().size() > at ? options->words()[at] : options->value("--config", kConfigDirectory);
    const bool json = options->has("--json");
    OpenKernel kernel(paths->instance);
    return entry.run(
        {std::move(*options), std::move(*paths), Output::for_stdout(json), std::move(directory), kernel.borrow()});
  }
  return usage_error("unknown command '" + name + "'");
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_DFL);  // `sepalctl show | head` ends quietly
  return run(std::vector<std::string>(argv + 1, argv + argc));
}
