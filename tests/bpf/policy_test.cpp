// Connections through the real program: what security groups say in the kernel is what the same code says here; and the
// life of its maps: made, put into force in one step, adopted, dropped.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "random_network.hpp"
#include "tests/bpf/policy_bed.hpp"

namespace sepal::test {
namespace {

using policy::Flow;
using policy::Network;
using policy::TenantPolicy;

Flow to_web(uint16_t port) { return {ip("10.9.9.9"), ip("10.0.0.1"), 6, port, false}; }

TEST_F(PolicyProgram, says_of_random_connections_what_the_same_code_says_outside_the_kernel) {
  constexpr uint64_t kNetworks = 60;
  constexpr unsigned kFlows = 100;
  unsigned allowed = 0;
  unsigned denied = 0;
  for (uint64_t seed = 1; seed <= kNetworks && !HasFailure(); ++seed) {
    policy::model::Chance chance(seed);
    const Network network = policy::model::random_network(chance);
    const TenantPolicy policy = policy::compile(network);
    enforce(policy);
    const policy::Judge judge(policy.tables);
    for (unsigned i = 0; i < kFlows && !HasFailure(); ++i) {
      const Flow flow = policy::model::random_flow(chance, network);
      const bool expected = judge.judge(flow).allowed;
      EXPECT_EQ(verdict(flow, policy.vni), expected ? kPipe : kShot)
          << "seed " << seed << ": " << policy::model::to_string(flow) << "\n"
          << policy::model::to_string(network);
      ++(expected ? allowed : denied);
    }
  }
  EXPECT_GT(allowed, 500U);
  EXPECT_GT(denied, 500U);
}

TEST_F(PolicyProgram, a_tenant_without_tables_is_denied) {
  EXPECT_EQ(verdict(to_web(80)), kShot);
  enforce(policy::compile(one_port({allow_tcp(80, 80)})));
  EXPECT_EQ(verdict(to_web(80)), kPipe);
  EXPECT_EQ(verdict(to_web(80), Vni(101)), kShot) << "another tenant";
  ASSERT_TRUE(policies_->deactivate(Vni(100)));
  EXPECT_EQ(verdict(to_web(80)), kShot);
}

TEST_F(PolicyProgram, a_change_is_seen_only_when_it_is_put_into_force) {
  enforce(policy::compile(one_port({allow_tcp(80, 80)})));
  const TenantPolicy next = policy::compile(one_port({allow_tcp(443, 443)}));
  ASSERT_TRUE(policies_->put(next.tables.space, next.tables.prefixes, next.tables.choices));
  EXPECT_EQ(verdict(to_web(80)), kPipe);
  EXPECT_EQ(verdict(to_web(443)), kShot);
  ASSERT_TRUE(policies_->activate(next.vni, next.tables.space));
  EXPECT_EQ(verdict(to_web(80)), kShot);
  EXPECT_EQ(verdict(to_web(443)), kPipe);
  EXPECT_EQ(policies_->drop_unused(), 1U) << "the former policy's tables";
  EXPECT_EQ(policies_->drop_unused(), 0U);
  EXPECT_EQ(verdict(to_web(443)), kPipe);
}

TEST_F(PolicyProgram, the_same_policy_again_writes_nothing) {
  const TenantPolicy policy = policy::compile(one_port({allow_tcp(80, 80)}));
  enforce(policy);
  const auto again = policies_->put(policy.tables.space, policy.tables.prefixes, policy.tables.choices);
  ASSERT_TRUE(again);
  EXPECT_TRUE(*again) << "was there, whole";
  const auto active = policies_->active();
  ASSERT_TRUE(active);
  EXPECT_EQ(*active, (std::map<Vni, uint64_t>{{Vni(100), policy.tables.space}}));
}

TEST_F(PolicyProgram, a_restart_adopts_the_program_and_the_policies_in_force) {
  enforce(policy::compile(one_port({allow_tcp(80, 80)})));
  ASSERT_TRUE(policies_->pin());
  const uint32_t id = policies_->program().id;
  policies_.reset();
  policies_.emplace(load());
  EXPECT_EQ(policies_->program().id, id);
  EXPECT_EQ(verdict(to_web(80)), kPipe);
  EXPECT_EQ(verdict(to_web(81)), kShot);
  EXPECT_EQ(policies_->active()->size(), 1U);
}

TEST_F(PolicyProgram, pinning_makes_a_file_for_the_program_and_for_each_map) {
  ASSERT_TRUE(policies_->pin());
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(bpffs_->path() + "/sepal/lab"))
    files.push_back(entry.path().filename());
  std::sort(files.begin(), files.end());
  EXPECT_EQ(files, (std::vector<std::string>{"sepal_choices_2", "sepal_counts", "sepal_ends_2", "sepal_events",
                                             "sepal_lost", "sepal_policy", "sepal_spaces_2", "sepal_untracked"}));
  std::vector<std::string> names = policies_->names();
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, files);
}

TEST_F(PolicyProgram, a_map_whose_pin_is_gone_is_found_through_the_program_that_rules_run) {
  enforce(policy::compile(one_port({allow_tcp(80, 80)})));
  ASSERT_TRUE(policies_->pin());
  const std::string spaces = bpffs_->path() + "/sepal/lab/sepal_spaces_2";
  ASSERT_EQ(::unlink(spaces.c_str()), 0);
  policies_.reset();
  policies_.emplace(load());
  EXPECT_EQ(verdict(to_web(80)), kPipe);
  ASSERT_TRUE(policies_->pin());
  EXPECT_EQ(::access(spaces.c_str(), F_OK), 0);
}

TEST_F(PolicyProgram, verdicts_are_counted_by_rule) {
  const TenantPolicy policy = policy::compile(one_port({allow_tcp(80, 80)}));
  enforce(policy);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(verdict(to_web(80)), kPipe);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(verdict(to_web(81)), kShot);
  const auto counts = policies_->counts();
  ASSERT_TRUE(counts);
  using bpf::RuleCount;
  EXPECT_EQ(*counts, (std::vector<bpf::RuleCount>{{Vni(100), SEPAL_RULE_DEFAULT_INGRESS, 0, 2, 0},
                                                  {Vni(100), policy.rules[0].id, 3, 0, 0}}));
}

TEST_F(PolicyProgram, an_audited_group_passes_and_counts_what_it_would_drop) {
  Network network = one_port({allow_tcp(80, 80)});
  network.groups[0].audit = true;
  enforce(policy::compile(network));
  EXPECT_EQ(verdict(to_web(81)), kPipe);
  const auto counts = policies_->counts();
  ASSERT_TRUE(counts);
  EXPECT_EQ(*counts, (std::vector<bpf::RuleCount>{{Vni(100), SEPAL_RULE_DEFAULT_INGRESS, 0, 0, 1}}));
}

TEST_F(PolicyEvents, are_of_rules_that_log_and_of_no_others) {
  Network network = one_port({allow_tcp(80, 80), allow_tcp(81, 81), allow_tcp(82, 82)});
  network.groups[0].ingress[0].log = true;
  network.groups[0].ingress[1].log = true;
  network.groups[0].ingress[1].allow = false;
  enforce(policy::compile(network));
  for (const uint16_t port : std::array<uint16_t, 4>{80, 81, 82, 83}) verdict(to_web(port));
  const auto told = events();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].kind, SEPAL_EVENT_ALLOWED);
  EXPECT_EQ(told[1].kind, SEPAL_EVENT_DENIED);
  const sepal_event& event = told[1];
  EXPECT_EQ(event.vni, 100U);
  EXPECT_EQ(event.device, 1U) << "the loopback device";
  EXPECT_EQ(event.protocol, 6U);
  EXPECT_EQ(event.is_ipv6, 0U);
  EXPECT_EQ(Bytes(event.source, event.source + 4), Bytes({10, 9, 9, 9}));
  EXPECT_EQ(Bytes(event.destination, event.destination + 4), Bytes({10, 0, 0, 1}));
  EXPECT_EQ(event.source_port[0] << 8U | event.source_port[1], 40000);
  EXPECT_EQ(event.detail[0] << 8U | event.detail[1], 81);
  EXPECT_EQ(event.egress & SEPAL_RULE_ID, unsigned{SEPAL_RULE_NO_GROUPS});
  const policy::TenantPolicy policy = policy::compile(network);
  ASSERT_NE(policy.rule(event.ingress & SEPAL_RULE_ID), nullptr);
  EXPECT_EQ(policy.rule(event.ingress & SEPAL_RULE_ID)->text, "deny tcp 81 from any");
  EXPECT_TRUE(events().empty());
}

TEST_F(PolicyEvents, say_of_random_connections_what_the_same_code_says_outside_the_kernel) {
  unsigned told_of = 0;
  for (uint64_t seed = 1; seed <= 20 && !HasFailure(); ++seed) {
    policy::model::Chance chance(seed);
    Network network = policy::model::random_network(chance);
    network.log_denied = seed % 2 == 0;
    for (config::SecurityGroup& group : network.groups)
      for (auto* rules : {&group.ingress, &group.egress})
        for (size_t i = 0; i < rules->size(); ++i) (*rules)[i].log = (i + seed) % 3 == 0;
    const TenantPolicy policy = policy::compile(network);
    enforce(policy);
    const policy::Judge judge(policy.tables);
    for (unsigned i = 0; i < 100 && !HasFailure(); ++i) {
      const Flow flow = policy::model::random_flow(chance, network);
      const policy::Verdict said = judge.judge(flow);
      verdict(flow, policy.vni);
      const auto told = events();
      ASSERT_EQ(told.size(), policy::event_of(said) == SEPAL_EVENT_NONE ? 0U : 1U);
      if (told.empty()) continue;
      ++told_of;
      EXPECT_EQ(told[0].kind, policy::event_of(said));
      EXPECT_EQ(told[0].egress, policy::telling_rule(said.egress));
      if (said.egress.allows()) {
        EXPECT_EQ(told[0].ingress, policy::telling_rule(said.ingress));
      }
    }
  }
  EXPECT_GT(told_of, 200U);
}

TEST_F(PolicyEvents, that_have_no_room_are_counted_and_hold_no_packet_up) {
  Network network = one_port({allow_tcp(80, 80)});
  network.groups[0].ingress[0].log = true;
  enforce(policy::compile(network));
  constexpr size_t kRoom = SEPAL_EVENTS_BYTES / (sizeof(sepal_event) + 8);
  for (size_t i = 0; i < kRoom + 100; ++i) ASSERT_EQ(verdict(to_web(80)), kPipe);
  const size_t told = events().size();
  EXPECT_GE(told, kRoom - 1);
  const auto lost = policies_->events_lost();
  ASSERT_TRUE(lost);
  EXPECT_EQ(told + *lost, kRoom + 100);
  verdict(to_web(80));
  EXPECT_EQ(events().size(), 1U) << "there is room again";
}

TEST_F(PolicyProgram, options_and_extension_headers_are_stepped_over) {
  enforce(policy::compile(one_port({allow_tcp(80, 80)})));
  Ip4 with_options;
  with_options.protocol = 6;
  with_options.source = ip("10.9.9.9");
  with_options.destination = ip("10.0.0.1");
  with_options.options = Bytes(8, 1);
  with_options.payload = transport(to_web(80));
  const int program = policies_->program().fd.get();
  EXPECT_EQ(run_marked(program, ethernet(0x0800, with_options.bytes()), 100), kPipe);
  with_options.payload = transport(to_web(81));
  EXPECT_EQ(run_marked(program, ethernet(0x0800, with_options.bytes()), 100), kShot);

  Ip6 six;
  six.source = ip("fd00::9");
  six.destination = ip("fd00::1");
  six.next_header = 0;  // hop-by-hop, 8 bytes, then destination options, 16 bytes, then TCP
  const Bytes extensions = from_hex("3c00010400000000") + from_hex("0601010c") + Bytes(12, 0);
  six.payload = extensions + transport(to_web(80));
  EXPECT_EQ(run_marked(program, ethernet(0x86dd, six.bytes()), 100), kPipe);
  six.payload = extensions + transport(to_web(81));
  EXPECT_EQ(run_marked(program, ethernet(0x86dd, six.bytes()), 100), kShot);
}

TEST_F(PolicyProgram, what_cannot_be_read_is_denied) {
  enforce(policy::compile(one_port({allow_tcp(1, 65535)})));
  const int program = policies_->program().fd.get();
  Ip4 cut;
  cut.protocol = 6;
  cut.source = ip("10.9.9.9");
  cut.destination = ip("10.0.0.1");
  cut.payload = Bytes(2, 0);
  EXPECT_EQ(run_marked(program, ethernet(0x0800, cut.bytes()), 100), kShot);
  cut.payload = transport(to_web(80));
  cut.fragment = 185;
  EXPECT_EQ(run_marked(program, ethernet(0x0800, cut.bytes()), 100), kShot);
}

TEST_F(PolicyProgram, a_hundred_thousand_addresses_and_ten_thousand_rules_fit) {
  Network network = one_port({});
  config::SecurityGroup& web = network.groups[0];
  for (uint32_t i = 0; i < 100'000; ++i)
    web.members.push_back(
        IpPrefix::host(IpAddr::v4(172, static_cast<uint8_t>(16 + (i >> 16U)), static_cast<uint8_t>(i >> 8U & 0xffU),
                                  static_cast<uint8_t>(i & 0xffU))));
  for (uint16_t i = 0; i < 10'000; ++i) {
    config::GroupRule rule = allow_tcp(static_cast<uint16_t>(1000 + i), static_cast<uint16_t>(1000 + i));
    rule.remote = {};
    rule.remote.networks = {
        IpPrefix::host(IpAddr::v4(20, 0, static_cast<uint8_t>(i >> 8U), static_cast<uint8_t>(i & 0xffU)))};
    web.ingress.push_back(rule);
  }
  config::GroupRule members = allow_tcp(80, 80);
  members.remote = {};
  members.remote.groups = {"web"};
  web.ingress.push_back(members);
  enforce(policy::compile(network));
  EXPECT_EQ(verdict({ip("172.17.0.9"), ip("10.0.0.1"), 6, 80, false}), kPipe);
  EXPECT_EQ(verdict({ip("172.17.0.9"), ip("10.0.0.1"), 6, 81, false}), kShot);
  EXPECT_EQ(verdict({ip("20.0.39.15"), ip("10.0.0.1"), 6, 10999, false}), kPipe);
  EXPECT_EQ(verdict({ip("20.0.39.15"), ip("10.0.0.1"), 6, 10998, false}), kShot);
}

}  // namespace
}  // namespace sepal::test
