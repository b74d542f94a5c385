// docs/reference/offload-matrix.md: the shapes of all rules that the examples and scenarios compile to, and where each
// may be. The table between the document's markers is this program's; SEPAL_GOLDEN_REFRESH=1 writes it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/read.hpp"
#include "tc/pipeline/capabilities.hpp"
#include "tc/pipeline/lint.hpp"

namespace sepal::tc {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBegin = "<!-- matrix: begin -->\n";
constexpr std::string_view kEnd = "<!-- matrix: end -->\n";

fs::path root() {
  const char* given = std::getenv("SEPAL_SOURCE_ROOT");
  return given == nullptr ? fs::path(".") : fs::path(given);
}
fs::path document() { return root() / "docs/reference/offload-matrix.md"; }

std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Every port is here, every gateway known.
Facts facts_for(const config::Config& config) {
  Facts facts;
  facts.uplink = IfIndex(2);
  facts.vxlan = IfIndex(3);
  facts.uplink_mac = MacAddr{{0x02, 0, 0, 0, 0xf0, 1}};
  uint32_t next = 10;
  for (const config::Tenant& tenant : config.tenants)
    for (const config::Port& port : tenant.ports) facts.ports[{tenant.name, port.name}] = IfIndex(next++);
  facts.public_gateway4 = facts.public_gateway6 = MacAddr{{0x02, 0, 0, 0, 0x30, 1}};
  return facts;
}

std::vector<fs::path> directories() {
  std::vector<fs::path> found{root() / "config/examples/full"};
  for (const auto& entry : fs::directory_iterator(root() / "tests/golden"))
    if (fs::exists(entry.path() / "sepal.yaml")) found.push_back(entry.path());
  return found;
}

// What tells one row from another; a rule kept out by design is another row than its like in hardware.
using RowKey = std::pair<Shape, bool>;

std::string letter(std::string_view why) {
  static constexpr std::pair<std::string_view, const char*> kLetters[] = {
      {"chains above 3 need ignore_flow_level", "a"},  {"priorities above 16 need ignore_flow_level", "b"},
      {"connections need ignore_flow_level", "c"},     {"this kernel's driver tracks no connections", "d"},
      {"this kernel's driver takes no tc rules", "e"},
  };
  for (const auto& [text, name] : kLetters)
    if (text == why) return name;
  ADD_FAILURE() << "the document has no letter for: " << why;
  return "?";
}

std::string cell(const Rule& rule, const NicProfile& nic, const KernelKind& kernel) {
  const HardwareVerdict verdict = judge(rule, nic, kernel);
  return verdict.hardware ? "H" : letter(verdict.why);
}

std::string row_text(const RowKey& key, const Rule& rule) {
  const Shape& shape = key.first;
  std::string text = "| " + std::string(to_string(shape.block)) + " g" +
                     std::to_string(static_cast<unsigned>(shape.group)) + " | " + shape.match + " | " + shape.actions;
  if (key.second)
    return text + " | S | S | S | S | S | " + std::string(judge(rule, kNicProfiles[0], kKernelKinds[0]).why) + " |\n";
  for (const NicProfile& nic : kNicProfiles) text += " | " + cell(rule, nic, kKernelKinds[0]);
  for (size_t i = 1; i < kKernelKinds.size(); ++i) text += " | " + cell(rule, kNicProfiles[0], kKernelKinds[i]);
  return text + " | |\n";
}

void add_rows(const config::Config& config, std::map<RowKey, std::string>& rows) {
  for (const CompiledRule& rule : compile(config, facts_for(config)).rules) {
    const RowKey key{shape_of(rule.rule, rule.origin.block), rule.rule.spec.skip_hw};
    const std::string text = row_text(key, rule.rule);
    const auto [row, fresh] = rows.emplace(key, text);
    EXPECT_EQ(row->second, text) << "rules of one shape fare differently; the shape is too coarse";
  }
}

// Guests whose MAC addresses nobody configured have shown them; whether there were any.
bool let_guests_speak(config::Config& config) {
  bool any = false;
  uint8_t end = 0;
  for (config::Tenant& tenant : config.tenants) {
    for (config::Port& port : tenant.ports) {
      ++end;
      if (!port.mac_is_open) continue;
      port.mac = MacAddr{{0x02, 0, 0, 0, 0xa0, end}};
      any = true;
    }
  }
  return any;
}

std::string table() {
  std::map<RowKey, std::string> rows;
  for (const fs::path& directory : directories()) {
    auto config = config::read_directory(directory.string());
    EXPECT_TRUE(config) << directory;
    if (!config) continue;
    add_rows(*config, rows);
    if (let_guests_speak(*config)) add_rows(*config, rows);
  }
  std::string out = "| block | matches | does |";
  for (const NicProfile& nic : kNicProfiles) out += " " + std::string(nic.name) + " |";
  for (size_t i = 1; i < kKernelKinds.size(); ++i) out += " " + std::string(kKernelKinds[i].name) + " |";
  out += " software, because |\n|---|---|---|---|---|---|---|---|---|\n";
  for (const auto& [key, text] : rows) out += text;
  return out;
}

TEST(Matrix, the_document_says_of_every_shape_of_rule_where_it_may_be) {
  const std::string text = read_text(document());
  const size_t begin = text.find(kBegin);
  const size_t end = text.find(kEnd);
  ASSERT_TRUE(begin != std::string::npos && end != std::string::npos) << document() << " has lost its markers";
  const std::string wanted = table();
  if (std::getenv("SEPAL_GOLDEN_REFRESH") != nullptr) {
    std::ofstream(document()) << text.substr(0, begin) << kBegin << wanted << text.substr(end);
    return;
  }
  EXPECT_EQ(text.substr(begin + kBegin.size(), end - begin - kBegin.size()), wanted)
      << "refresh it: SEPAL_GOLDEN_REFRESH=1 meson test --suite golden";
}

TEST(Matrix, what_it_calls_hardware_is_what_lint_finds_no_fault_with) {
  for (const fs::path& directory : directories()) {
    auto config = config::read_directory(directory.string());
    ASSERT_TRUE(config) << directory;
    const Facts facts = facts_for(*config);
    const RuleSet rules = compile(*config, facts);
    std::set<RuleId> faulty;
    for (const LintFinding& finding : lint(rules.rules, lint_context(*config, facts, rules.zones)))
      if (!finding.informative) faulty.insert(finding.id);
    for (const CompiledRule& rule : rules.rules) {
      const bool hardware = judge(rule.rule, kNicProfiles[0], kKernelKinds[0]).hardware;
      EXPECT_TRUE(!hardware || !faulty.contains(rule.rule.id)) << to_text(rule.rule);
      EXPECT_EQ(hardware, !rule.rule.spec.skip_hw) << to_text(rule.rule);
    }
  }
}

TEST(Matrix, less_capable_nics_and_kernels_never_hold_more) {
  for (const fs::path& directory : directories()) {
    auto config = config::read_directory(directory.string());
    ASSERT_TRUE(config) << directory;
    for (const CompiledRule& rule : compile(*config, facts_for(*config)).rules) {
      bool before = true;
      for (const NicProfile& nic : kNicProfiles) {
        const bool now = judge(rule.rule, nic, kKernelKinds[0]).hardware;
        EXPECT_TRUE(before || !now) << nic.name << ": " << to_text(rule.rule);
        before = now;
      }
      for (const KernelKind& kernel : kKernelKinds) {
        const bool there = judge(rule.rule, kNicProfiles[0], kernel).hardware;
        EXPECT_TRUE(kernel.any_tc || !there) << kernel.name << ": " << to_text(rule.rule);
      }
    }
  }
}

}  // namespace
}  // namespace sepal::tc
