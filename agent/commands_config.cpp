// validate and lint: what can be said of a configuration without asking the kernel.
#include <map>
#include <nlohmann/json.hpp>

#include "agent/changes.hpp"
#include "agent/commands.hpp"
#include "agent/exit_codes.hpp"
#include "agent/report.hpp"
#include "agent/words.hpp"
#include "tc/pipeline/lint.hpp"
#include "tc/pipeline/pipeline.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

// A hypervisor on which every device of the configuration is there: numbers and MACs are made up.
struct Imagined {
  tc::Facts facts;
  std::map<IfIndex, std::string> devices;
};

Imagined imagine(const config::Config& config, const std::string& instance) {
  Imagined world;
  uint32_t next = 1;
  auto device = [&](const std::string& name) {
    const IfIndex index(next++);
    world.devices.emplace(index, name);
    return index;
  };
  tc::Facts& facts = world.facts;
  facts.instance = tc::instance_hash(instance);
  facts.uplink = device(config.host.underlay.device);
  facts.vxlan = device(config.host.vxlan.device);
  facts.uplink_mac = MacAddr{{0x02, 0, 0, 0, 0, 0x01}};
  facts.public_gateway4 = facts.public_gateway6 = MacAddr{{0x02, 0, 0, 0, 0, 0x02}};
  for (const config::Tenant& tenant : config.tenants)
    for (const config::Port& port : tenant.ports)
      facts.ports.emplace(tc::PortKey{tenant.name, port.name},
                          device(port.vf ? "vf" + std::to_string(*port.vf) : port.device));
  return world;
}

size_t port_count(const config::Config& config) {
  size_t ports = 0;
  for (const auto& tenant : config.tenants) ports += tenant.ports.size();
  return ports;
}

}  // namespace

int command_validate(const Command& command) {
  const auto config = read_or_complain(command);
  if (!config) return kExitInvalid;
  if (command.output.json())
    command.output.print({{"valid", true},
                          {"faults", json::array()},
                          {"files", config->files},
                          {"tenants", config->tenants.size()},
                          {"ports", port_count(*config)}});
  else
    command.output.line(command.directory + ": valid: " + count_text(config->tenants.size(), "tenant") + ", " +
                        count_text(port_count(*config), "port") + " in " + count_text(config->files.size(), "file"));
  return kExitOk;
}

int command_lint(const Command& command) {
  const auto config = read_or_complain(command);
  if (!config) return kExitInvalid;
  const Imagined world = imagine(*config, command.paths.instance);
  const tc::RuleSet rules = tc::compile(*config, world.facts);
  const auto findings = tc::lint(rules.rules, tc::lint_context(*config, world.facts, rules.zones));
  const Names names(&*config, world.facts.ports, world.devices);
  if (command.output.json()) {
    json list = json::array();
    for (const auto& finding : findings)
      list.push_back({{"rule", finding.rule},
                      {"device", names.device(finding.id.device)},
                      {"chain", finding.id.chain},
                      {"prio", finding.id.prio},
                      {"handle", finding.id.handle},
                      {"what", finding.what}});
    command.output.print({{"rules", rules.rules.size()}, {"findings", std::move(list)}});
  } else {
    for (const auto& finding : findings)
      command.output.line(finding.rule + "  " + names.device(finding.id.device) + " " +
                          tc::to_string(tc::parse_chain(finding.id.chain)) + " prio " +
                          std::to_string(finding.id.prio) + ": " + finding.what);
    command.output.line(count_text(rules.rules.size(), "rule") + ", " + count_text(findings.size(), "finding"));
  }
  return findings.empty() ? kExitOk : kExitDifference;
}

}  // namespace sepal::agent
