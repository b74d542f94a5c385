// Lines of words, as in the other state file; the words of a driver are the rest of their line:
//   sepal-hardware 1
//   card CARD
//   capacity RULES
//   unit DEVICE VNI DEMOTION SINCE ATTEMPTS RULES REFUSAL
//   rule REFUSAL
// REFUSAL is DEVICE CHAIN PRIO PROTOCOL HANDLE CONTENT CAUSE ERRNO HARMLESS WORDS…
#include "agent/hardware.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "agent/state.hpp"

namespace sepal::agent {
namespace {

constexpr std::string_view kHeader = "sepal-hardware 1";

void put(std::ostringstream& out, const HardwareRefusal& refusal) {
  const tc::RuleId& id = refusal.id;
  out << id.device.value() << ' ' << id.chain << ' ' << id.prio << ' ' << id.protocol << ' ' << id.handle << ' '
      << refusal.content << ' ' << static_cast<unsigned>(refusal.cause) << ' ' << refusal.sys_errno << ' '
      << (refusal.harmless ? 1 : 0) << ' ' << refusal.words << '\n';
}

bool take(std::istringstream& in, HardwareRefusal& refusal) {
  uint32_t device = 0;
  unsigned cause = 0;
  unsigned harmless = 0;
  tc::RuleId& id = refusal.id;
  if (!(in >> device >> id.chain >> id.prio >> id.protocol >> id.handle >> refusal.content >> cause >>
        refusal.sys_errno >> harmless) ||
      cause > static_cast<unsigned>(RefusalCause::unclear))
    return false;
  id.device = IfIndex(device);
  refusal.cause = static_cast<RefusalCause>(cause);
  refusal.harmless = harmless != 0;
  in.get();
  std::getline(in, refusal.words);
  return true;
}

bool read_line(const std::string& line, HardwareState& state) {
  std::istringstream in(line);
  std::string kind;
  in >> kind;
  if (kind == "card") return static_cast<bool>(in >> state.card);
  if (kind == "capacity") {
    size_t rules = 0;
    if (!(in >> rules)) return false;
    state.capacity = rules;
    return true;
  }
  if (kind == "rule") {
    HardwareRefusal refusal;
    if (!take(in, refusal)) return false;
    state.refusals[refusal.id] = refusal;
    return true;
  }
  uint32_t device = 0;
  uint32_t vni = 0;
  unsigned demotion = 0;
  int64_t since = 0;
  DemotedUnit unit;
  if (kind != "unit" || !(in >> device >> vni >> demotion >> since >> unit.attempts >> unit.rules) ||
      demotion > static_cast<unsigned>(tc::Demotion::whole) || !take(in, unit.reason))
    return false;
  unit.demotion = static_cast<tc::Demotion>(demotion);
  unit.since = std::chrono::system_clock::time_point(std::chrono::seconds(since));
  state.units[{IfIndex(device), Vni(vni)}] = unit;
  return true;
}

}  // namespace

std::string_view to_string(RefusalCause cause) {
  switch (cause) {
    case RefusalCause::unsupported: return "unsupported";
    case RefusalCause::full: return "full";
    case RefusalCause::busy: return "busy";
    case RefusalCause::unclear: return "unclear";
  }
  return "unclear";
}

// mlx5 says ENOSPC for tables, tables of tables and its own counts, and EBUSY both for a mode change in progress and
// for its pools of numbers; the pools free theirs with the rules that hold them, so a later try is right for both.
RefusalCause cause_of(int sys_errno) {
  switch (sys_errno) {
    case 0: return RefusalCause::unclear;
    case ENOSPC: return RefusalCause::full;
    case EBUSY:
    case EAGAIN:
    case EINTR:
    case ENOMEM:
    case ENOBUFS:
    case ETIMEDOUT: return RefusalCause::busy;
    default: return RefusalCause::unsupported;
  }
}

std::string to_string(const HardwareRefusal& refusal) {
  std::string text = refusal.sys_errno != 0 ? std::strerror(refusal.sys_errno) : "refused";
  if (!refusal.words.empty()) return text + ": the NIC says: " + refusal.words;
  return refusal.sys_errno != 0 ? text : "refused by the NIC without a reason";
}

std::vector<size_t> not_in_hardware(const World& world) {
  std::vector<size_t> found;
  for (size_t i = 0; i < world.observed.size(); ++i) {
    const tc::Observed& rule = world.observed[i];
    if (!rule.skip_hw && !rule.in_hw && world.offload.contains(rule.id.device)) found.push_back(i);
  }
  return found;
}

tc::HardwareUnit unit_of(const tc::RuleId& id, const tc::Origin& origin) {
  if (origin.block == tc::BlockKind::port) return {id.device, Vni()};
  return {id.device, id.chain == 0 ? origin.vni : tc::parse_chain(id.chain).vni};
}

RuleIdPlace place_of(const tc::RuleId& id, const World& world) {
  const bool wire = id.device == world.facts.vxlan || id.device == world.facts.uplink;
  if (!wire) return {{id.device, Vni()}, id.chain == 0};
  const tc::ChainId chain = tc::parse_chain(id.chain);
  return {{id.device, id.chain == 0 ? Vni() : chain.vni}, chain.group == tc::Group::nat && chain.vni != Vni()};
}

std::string unit_name(const tc::HardwareUnit& unit, const config::Config& config, const World& world) {
  for (const auto& [key, device] : world.facts.ports)
    if (device == unit.device) return "tenant " + key.tenant + ", port " + key.port;
  const std::string block = unit.device == world.facts.vxlan    ? "overlay"
                            : unit.device == world.facts.uplink ? "uplink"
                                                                : world.device_name(unit.device);
  if (unit.vni == Vni()) return block;
  for (const config::Tenant& tenant : config.tenants)
    if (tenant.vni == unit.vni) return "tenant " + tenant.name + ", " + block;
  return "vni " + std::to_string(unit.vni.value()) + ", " + block;
}

std::map<tc::RuleId, std::string> rules_kept_out(const config::Config& config, const World& world,
                                                 const tc::RuleSet& wanted, const HardwareState& state) {
  tc::Facts facts = world.facts;
  facts.demoted.clear();
  std::set<tc::RuleId> offered;
  for (const tc::CompiledRule& rule : tc::compile(config, facts).rules)
    if (!rule.rule.spec.skip_hw) offered.insert(rule.rule.id);
  std::map<tc::RuleId, std::string> out;
  for (const tc::CompiledRule& rule : wanted.rules) {
    if (!rule.rule.spec.skip_hw || !offered.contains(rule.rule.id)) continue;
    const tc::HardwareUnit part = unit_of(rule.rule.id, rule.origin);
    const tc::HardwareUnit block{rule.rule.id.device, Vni()};
    const tc::HardwareUnit unit = state.units.contains(part) ? part : block;
    const auto demoted = state.units.find(unit);
    out[rule.rule.id] = "in software with all of " + unit_name(unit, config, world) +
                        (demoted == state.units.end() ? "" : ": " + to_string(demoted->second.reason));
  }
  return out;
}

HardwareState load_hardware(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line) || line != kHeader) return {};
  HardwareState state;
  while (std::getline(file, line))
    if (!read_line(line, state)) return {};
  return state;
}

Result<void> save_hardware(const std::string& path, const HardwareState& state) {
  std::ostringstream out;
  out << kHeader << '\n';
  if (!state.card.empty()) out << "card " << state.card << '\n';
  if (state.capacity) out << "capacity " << *state.capacity << '\n';
  for (const auto& [unit, demoted] : state.units) {
    const auto since = std::chrono::duration_cast<std::chrono::seconds>(demoted.since.time_since_epoch()).count();
    out << "unit " << unit.device.value() << ' ' << unit.vni.value() << ' ' << static_cast<unsigned>(demoted.demotion)
        << ' ' << since << ' ' << demoted.attempts << ' ' << demoted.rules << ' ';
    put(out, demoted.reason);
  }
  for (const auto& [id, refusal] : state.refusals) {
    out << "rule ";
    put(out, refusal);
  }
  return replace_file(path, out.str());
}

}  // namespace sepal::agent
