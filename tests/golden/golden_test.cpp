// Scenarios: a configuration in, its rules as text out (rules.txt), and where the folder holds a change/, the steps of
// the reload (steps.txt). README.md tells how to refresh the files.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/read.hpp"
#include "tc/pipeline/diff.hpp"
#include "tests/bench/tc_text.hpp"

namespace sepal::tc {
namespace {

namespace fs = std::filesystem;

const fs::path& golden_directory() {
  static const fs::path kDirectory = [] {
    const char* given = std::getenv("SEPAL_GOLDEN_DIR");
    return fs::path(given == nullptr ? "tests/golden" : given);
  }();
  return kDirectory;
}

std::vector<std::string> scenario_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(golden_directory())) {
    if (fs::exists(entry.path() / "sepal.yaml")) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string words(const std::string& name) {
  std::string text = name;
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
}

// Numbers for devices by name, the same in a scenario and its change; a device named absent-… is not there.
struct Devices {
  std::map<std::string, IfIndex> numbers;
  std::map<uint32_t, std::string> names;

  IfIndex number(const std::string& name) {
    auto [at, inserted] = numbers.emplace(name, IfIndex(static_cast<uint32_t>(numbers.size()) + 2));
    if (inserted) names[at->second.value()] = name;
    return at->second;
  }
  // "dev 7" → "dev web", wherever it stands.
  [[nodiscard]] std::string named(const std::string& text) const {
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const bool device = text.compare(at, 4, "dev ") == 0 && at + 4 < text.size() && std::isdigit(text[at + 4]) != 0;
      if (!device) {
        out += text[at++];
        continue;
      }
      size_t end = at + 4;
      while (end < text.size() && std::isdigit(text[end]) != 0) ++end;
      out += "dev " + names.at(static_cast<uint32_t>(std::stoul(text.substr(at + 4, end - at - 4))));
      at = end;
    }
    return out;
  }
};

Facts facts_of(const config::Config& config, Devices& devices) {
  Facts facts;
  facts.uplink = devices.number(config.host.underlay.device);
  facts.vxlan = devices.number(config.host.vxlan.device);
  facts.uplink_mac = *MacAddr::parse("02:00:00:00:88:01");
  for (const config::Tenant& tenant : config.tenants) {
    for (const config::Port& port : tenant.ports) {
      if (port.device.rfind("absent-", 0) == 0) continue;
      facts.ports[{tenant.name, port.name}] = devices.number(port.device);
    }
  }
  if (config.host.public_net) {
    facts.public_gateway4 = config.host.public_net->gateway_mac;
    facts.public_gateway6 = config.host.public_net->gateway_mac;
  }
  facts.programs.answer_neighbour = {"sepal_neigh", {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}};
  facts.programs.choose_slice = {"sepal_slice", {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11}};
  facts.programs.speak_icmp = {"sepal_icmp", {0x12, 0x34, 0x56, 0x78, 0x87, 0x65, 0x43, 0x21}};
  facts.programs.hear_question = {"sepal_question", {0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0}};
  facts.programs.judge_policy = {"sepal_policy", {0x21, 0x43, 0x65, 0x87, 0xa9, 0xcb, 0xed, 0x0f}};
  facts.programs.hold_room = {"sepal_room", {4, 6, 6, 9, 2, 0, 1, 6}};
  facts.instance = 0x1234;
  return facts;
}

config::Config read(const fs::path& directory) {
  config::ReadResult result = config::read_directory(directory);
  if (result) return *result;
  std::string faults;
  for (const config::Fault& fault : result.error()) faults += fault.to_string() + "\n";
  throw std::runtime_error(faults);
}

std::string render(const RuleSet& rules, const Devices& devices) {
  std::ostringstream text;
  for (const PortKey& port : rules.waiting) text << "waiting: port " << port.port << " of " << port.tenant << "\n";
  for (const std::string& note : rules.notes) text << "note: " << note << "\n";
  for (const auto& [vni, zone] : rules.zones) text << "vni " << vni.value() << ": ct zone " << zone.value() << "\n";
  const RuleId* before = nullptr;
  for (const CompiledRule& rule : rules.rules) {
    const RuleId& id = rule.rule.id;
    if (before == nullptr || before->device != id.device || before->chain != id.chain) {
      text << "\n# " << devices.names.at(id.device.value()) << ", "
           << (id.chain == 0 ? "first chain" : to_string(parse_chain(id.chain))) << "\n";
    }
    before = &id;
    text << devices.named(to_text(rule.rule));
    if (rule.origin.drop != DropReason::none) text << "  # " << to_string(rule.origin.drop);
    text << "\n";
  }
  if (!rules.neighbours.empty()) text << "\n# who answers: device, VLAN, target, MAC\n";
  for (const NeighbourEntry& entry : rules.neighbours) {
    static const char* kAnswers[] = {"silent", "neighbour", "gateway", "guard"};
    text << devices.names.at(entry.device.value()) << " vlan " << entry.vlan.value() << " " << entry.target.to_string()
         << " " << kAnswers[static_cast<size_t>(entry.answer)];
    if (entry.answer != NeighbourEntry::Answer::silent) text << " " << entry.mac.to_string();
    if (entry.own) text << " own";
    text << "\n";
  }
  if (!rules.slices.empty()) text << "\n# slices of public addresses: first port / leading bits, number\n";
  for (const SliceEntry& entry : rules.slices) {
    text << entry.address.to_string() << " " << entry.port << "/" << int{entry.port_bits} << " 0x" << std::hex
         << entry.slice << std::dec << "\n";
  }
  return text.str();
}

std::string render_steps(const RuleSet& before, const RuleSet& after, const Devices& devices) {
  std::vector<Observed> observed;
  for (const CompiledRule& rule : before.rules) observed.push_back({rule.rule.id, rule.cookie, rule.rule.spec.skip_hw});
  std::ostringstream text;
  for (const Step& step : diff(after.rules, observed)) {
    switch (step.kind) {
      case Step::Kind::add: text << "add     "; break;
      case Step::Kind::replace: text << "replace "; break;
      case Step::Kind::remove: text << "remove  "; break;
    }
    const bool removes = step.kind == Step::Kind::remove;
    text << devices.named(to_text((removes ? before : after).rules[step.rule].rule)) << "\n";
  }
  return text.str();
}

void compare(const fs::path& file, const std::string& text) {
  if (std::getenv("SEPAL_GOLDEN_REFRESH") != nullptr) {
    std::ofstream(file) << text;
    return;
  }
  std::ifstream stream(file);
  std::stringstream known;
  known << stream.rdbuf();
  std::istringstream expected(known.str());
  std::istringstream actual(text);
  std::string a;
  std::string b;
  for (int line = 1;; ++line) {
    const bool more_a = static_cast<bool>(std::getline(expected, a));
    const bool more_b = static_cast<bool>(std::getline(actual, b));
    if (!more_a && !more_b) return;
    if (more_a && more_b && a == b) continue;
    ADD_FAILURE() << file.string() << ":" << line
                  << " differs (refresh: see tests/golden/README.md)\n  known: " << (more_a ? a : "(end)")
                  << "\n  now:   " << (more_b ? b : "(end)");
    return;
  }
}

class Golden : public testing::TestWithParam<std::string> {};

}  // namespace

TEST_P(Golden, compiles_to_the_rules_on_record) {
  const fs::path folder = golden_directory() / GetParam();
  Devices devices;
  const config::Config config = read(folder);
  const RuleSet rules = compile(config, facts_of(config, devices));
  compare(folder / "rules.txt", render(rules, devices));
  if (!fs::exists(folder / "change")) return;
  const config::Config changed = read(folder / "change");
  Facts facts = facts_of(changed, devices);
  facts.zones = rules.zones;
  compare(folder / "steps.txt", render_steps(rules, compile(changed, facts), devices));
}

// The benchmarks hold the agent against the same rules in tc's own words (tc_text_test.cpp); tc lacks one key.
TEST_P(Golden, has_nothing_that_cannot_be_said_in_tcs_words) {
  Devices devices;
  const config::Config config = read(golden_directory() / GetParam());
  const RuleSet rules = compile(config, facts_of(config, devices));
  bench::TcWords words{{}, "/%s", true};
  for (const auto& [name, number] : devices.numbers) words.devices[number] = name;
  for (const CompiledRule& rule : rules.rules) {
    if (rule.rule.spec.match.find(Key::hash) != nullptr) continue;
    EXPECT_NO_THROW((void)bench::tc_batch({&rule}, words)) << to_text(rule.rule);
  }
}

INSTANTIATE_TEST_SUITE_P(Scenario, Golden, testing::ValuesIn(scenario_names()),
                         [](const auto& name) { return words(name.param); });

}  // namespace sepal::tc
