// What the commands share: reading the configuration, saying what went wrong, naming a tenant.
#include "agent/commands.hpp"

#include <nlohmann/json.hpp>

#include "agent/changes.hpp"
#include "agent/exit_codes.hpp"
#include "agent/learnt_macs.hpp"
#include "agent/report.hpp"

namespace sepal::agent {
namespace {

// With the MAC addresses that the daemon, or a command before, left in the state file.
config::ReadResult read_and_fill_in(const Command& command) {
  auto read = config::read_directory(command.directory);
  if (!read || !leaves_macs_open(*read)) return read;
  LearntMacs learnt = learnt_macs(load_state(command.paths.state));
  fill_in(*read, learnt);
  return read;
}

}  // namespace

int complain(const Command& command, const Error& error) {
  if (command.output.json())
    command.output.print({{"error", to_json(error)}});
  else
    command.output.complain(error.message());
  return kExitError;
}

std::optional<config::Config> read_or_complain(const Command& command) {
  auto read = read_and_fill_in(command);
  if (read) return std::move(*read);
  if (command.output.json()) {
    command.output.print({{"valid", false}, {"faults", to_json(read.error())}});
    return std::nullopt;
  }
  // Faults stand as "file:line:column: …", nothing before them, so that editors can jump there.
  for (const config::Fault& fault : read.error()) command.output.line(fault.to_string());
  command.output.complain(command.directory + ": " + count_text(read.error().size(), "fault") +
                          "; nothing was changed");
  return std::nullopt;
}

std::optional<config::Config> read_for_names(const Command& command) {
  auto read = read_and_fill_in(command);
  if (!read) return std::nullopt;
  return std::move(*read);
}

std::optional<Vni> tenant_given(const Command& command, const Names& names) {
  const std::string tenant = command.options.value("--tenant", "");
  if (const auto vni = names.vni_of(tenant)) return vni;
  const bool number =
      !tenant.empty() && tenant.size() < 9 && tenant.find_first_not_of("0123456789") == std::string::npos;
  if (number) return Vni(static_cast<uint32_t>(std::stoul(tenant)));
  complain(
      command,
      {Errc::not_found, 0, "no tenant '" + tenant + "' in " + command.directory + " (a VNI is understood, too)", {}});
  return std::nullopt;
}

bool tenant_asked(const Command& command, const Names& names, std::optional<Vni>& only) {
  if (!command.options.has("--tenant")) return true;
  only = tenant_given(command, names);
  return only.has_value();
}

}  // namespace sepal::agent
