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
  explain PORT PROTOCOL SOURCE[:PORT] DESTINATION[:PORT]
                    the way of such a packet, rule by rule, in hardware or not and why; PORT is TENANT/PORT, a device,
                    uplink [--vlan N] or tunnel --vni N; --ttl N; or PORT --frame HEX
  connections       tracked connections of tenants: --tenant NAME|VNI, --delete, --config DIR
  status            what a running sepald has to say
  reload            have a running sepald read its configuration again
  remove            take everything of this instance out of the kernel, and nothing else

  --json            for programs; field names are in docs/reference/cli.md
  --instance NAME   which sepald of several (default)
  --run-dir DIR     where locks, sockets and state are (/run/sepal)
  --help, --version

exit status: 0 ok, 1 error, 2 there is a difference (plan, verify) or a finding (lint), 3 the configuration is invalid,
4 some rules were refused, 5 another writer is at work, 64 wrong usage
)";

struct Entry {
  std::string_view name;
  int (*run)(const Command&);
  bool takes_directory;
  size_t more_words = 0;
};
constexpr Entry kCommands[] = {
    {"validate", command_validate, true}, {"lint", command_lint, true},     {"plan", command_plan, true},
    {"verify", command_verify, true},     {"explain", command_explain, false, 4},
    {"apply", command_apply, true},       {"show", command_show, false},    {"connections", command_connections, false},
    {"status", command_status, false},    {"reload", command_reload, false}, {"remove", command_remove, false},
};

int usage_error(std::string_view what) {
  std::cerr << "sepalctl: " << what << "; see sepalctl --help\n";
  return kExitUsage;
}

int run(const std::vector<std::string>& arguments) {
  auto options = Options::parse(arguments, {{"--help"}, {"--version"}, {"--json"}, {"--rules"}, {"--foreign"}, {"--delete"},
                                            {"--instance", true}, {"--run-dir", true}, {"--tenant", true},
                                            {"--group", true}, {"--config", true}, {"--frame", true}, {"--vni", true}, {"--vlan", true},
                                            {"--ttl", true}});
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
    const size_t words_max = (entry.takes_directory ? 2 : 1) + entry.more_words;
    if (options->words().size() > words_max) return usage_error("'" + options->words()[words_max] + "' is one word too many");
    if (auto group = options->number("--group", 0, 7); !group) return usage_error(group.error().message());
    std::string directory = entry.takes_directory && options->words().size() > 1 ? options->words()[1] : options->value("--config", kConfigDirectory);
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
