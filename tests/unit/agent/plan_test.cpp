// Differences, names and rules in words: what people are told.
#include <nlohmann/json.hpp>

#include "agent/changes.hpp"
#include "agent/names.hpp"
#include "agent/report.hpp"
#include "agent/shown.hpp"
#include "agent/words.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

class PlanTest : public AgentTest {
 protected:
  std::vector<std::string> changes_to(const config::Config& config) {
    Kernel kernel = this->kernel();
    auto difference = find_difference(kernel, config, paths_);
    EXPECT_TRUE(difference.has_value());
    std::vector<Filter> old;
    for (const std::string device : {"uplink", "sepal-vxlan", "blue-web", "blue-app", "green-web"})
      for (Filter& filter : filters_on(device)) old.push_back(std::move(filter));
    const Names names(&config, difference->world.facts.ports, difference->world.devices);
    std::vector<std::string> lines;
    for (const Change& change :
         summarize(names, difference->wanted.rules, difference->world.observed, difference->steps, old))
      lines.push_back(to_line(names, change));
    return lines;
  }
  static bool has_line(const std::vector<std::string>& lines, const std::string& begin) {
    return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) { return line.rfind(begin, 0) == 0; });
  }
};

TEST_F(PlanTest, planning_writes_nothing) {
  Kernel kernel = this->kernel();
  auto difference = find_difference(kernel, usual_config(), paths_);
  ASSERT_TRUE(difference);
  EXPECT_TRUE(difference->any());
  EXPECT_EQ(difference->to_make,
            (std::vector<std::string>{"vxlan device sepal-vxlan", "clsact on uplink", "clsact on blue-web",
                                      "clsact on blue-app", "clsact on green-web", "clsact on sepal-vxlan"}));
  EXPECT_EQ(kernel_.writes(), 0U);
  EXPECT_FALSE(slow_path_.pinned);
  EXPECT_TRUE(slow_path_.calls.empty());
}

TEST_F(PlanTest, after_an_apply_there_is_no_difference) {
  apply(usual_config());
  Kernel kernel = this->kernel();
  auto difference = find_difference(kernel, usual_config(), paths_);
  ASSERT_TRUE(difference);
  EXPECT_FALSE(difference->any());
}

TEST_F(PlanTest, a_new_port_is_told_as_that_port_of_its_tenant) {
  apply(read_config(kHostYaml + kBlueHead + kWebPort + kRemoteRoute + kGreen));
  const auto lines = changes_to(usual_config());
  EXPECT_TRUE(has_line(lines, "tenant blue: + port app: "));
  for (const std::string& line : lines) EXPECT_EQ(line.rfind("tenant green", 0), std::string::npos) << line;
}

TEST_F(PlanTest, a_new_route_is_told_as_that_route_and_in_how_many_blocks) {
  apply(read_config(kHostYaml + kBlueHead + kWebPort + kAppPort + kGreen));
  const auto lines = changes_to(usual_config());
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines.front(), "tenant blue: + route 10.0.0.2/32 via 192.0.2.2: 2 rules in 2 blocks");
}

TEST_F(PlanTest, a_route_that_goes_is_told_by_its_prefix) {
  apply(usual_config());
  const auto lines = changes_to(read_config(kHostYaml + kBlueHead + kWebPort + kAppPort + kGreen));
  EXPECT_EQ(lines, (std::vector<std::string>{"tenant blue: - route 10.0.0.2/32: 2 rules in 2 blocks"}));
}

TEST_F(PlanTest, a_port_that_goes_is_told_by_its_device) {
  apply(usual_config());
  const auto lines = changes_to(read_config(kHostYaml + kBlueHead + kWebPort + kRemoteRoute + kGreen));
  EXPECT_TRUE(has_line(lines, "tenant blue: - port on blue-app: "));
}

TEST_F(PlanTest, a_rule_is_told_in_words) {
  Names names;
  tc::RuleSpec spec;
  spec.actions = {{.kind = tc::TunnelSet{IpAddr::v4(192, 0, 2, 1), IpAddr::v4(192, 0, 2, 2), 100, 4789}},
                  {.kind = tc::Mirred{IfIndex(7)}}};
  EXPECT_EQ(actions_in_words(spec, names), "tunnel to 192.0.2.2 as vni 100, redirect to device 7");
  tc::Ct commit;
  commit.zone = Zone(3);
  commit.commit = commit.nat = true;
  commit.direction = tc::Ct::Direction::src;
  commit.nat_first = commit.nat_last = IpAddr::v4(203, 0, 113, 10);
  commit.nat_ports = PortRange{1024, 2047};
  spec.actions = {
      {.kind = commit},
      {.kind = tc::Gact{{tc::Control::goto_chain, tc::chain_number(tc::Lane::guest, tc::Group::encap, Vni(100))}}}};
  EXPECT_EQ(actions_in_words(spec, names), "commit in zone 3 snat to 203.0.113.10 ports 1024-2047, to g3 vni 100");
}

TEST_F(PlanTest, show_joins_rules_of_the_kernel_with_their_purpose_and_reason) {
  apply(usual_config());
  const config::Config config = usual_config();
  Kernel kernel = this->kernel();
  auto shown = gather_shown(kernel, &config, paths_);
  ASSERT_TRUE(shown);
  size_t spoofed = 0;
  size_t without_origin = 0;
  for (const ShownRule& rule : shown->rules) {
    if (!rule.origin) ++without_origin;
    if (rule.origin && rule.origin->drop == tc::DropReason::spoofed) ++spoofed;
    const tc::PortKey* port = shown->names.port_on(rule.filter.rule.id.device);
    if (port == nullptr) continue;
    EXPECT_EQ(rule.vni, *shown->names.vni_of(port->tenant)) << rule_text(rule.filter.rule, shown->names);
  }
  EXPECT_EQ(without_origin, 0U);
  EXPECT_GE(spoofed, 3U) << "each port counts what it spoofs";
}

TEST_F(PlanTest, show_works_without_a_configuration) {
  apply(usual_config());
  Kernel kernel = this->kernel();
  auto shown = gather_shown(kernel, nullptr, paths_);
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->rules.size(), apply(usual_config()).rules);
  EXPECT_EQ(shown->names.tenant(Vni(100)), "vni 100");
}

TEST_F(PlanTest, a_report_holds_its_documented_fields) {
  const PassReport report = apply(usual_config());
  const nlohmann::json out = to_json(report, {});
  for (const char* field : {"rules", "added", "replaced", "removed", "connections_ended", "foreign",
                            "tenants_without_offload", "made", "changes", "problems", "notes", "waiting", "refused"})
    EXPECT_TRUE(out.contains(field)) << field;
  EXPECT_EQ(out["added"], report.rules);
  EXPECT_TRUE(out["refused"].is_array());
}

}  // namespace
}  // namespace sepal::agent
