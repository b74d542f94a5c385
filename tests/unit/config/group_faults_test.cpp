// Faults of security groups, of reading and of meaning. Rows as in reading_faults_test.cpp.
#include "config/read.hpp"
#include "tests/unit/config/fault_table.hpp"

namespace sepal::config {
namespace {

const FaultCase kCases[] = {
    {"groups_are_a_map_of_names",
     {.blue = more(R"(
security_groups: [web]
)"),
      .green = more(R"(
security_groups: {Web: {}, web: {}, web: {}}
)")},
     R"(
blue.yaml:6:18: security_groups: expected a map, found a list; write it as a map of names: {web: {ingress: [ … ]}}
green.yaml:6:19: security_groups: 'Web' is not a name; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
green.yaml:6:37: security group 'web' is given twice (at green.yaml:6:33); keep one
)"},
    {"mode_and_action_are_one_of_two_words",
     {.blue = more(R"(
security_groups:
  web:
    mode: off
    ingress: [{from: any, action: drop}]
)")},
     R"(
blue.yaml:8:11: security group 'web': mode: 'off' is not known; write enforce or audit
blue.yaml:9:35: ingress rule 'web': action: 'drop' is not known; write allow or deny
)"},
    {"a_rule_names_the_other_end_by_the_key_of_its_direction",
     {.blue = more(R"(
security_groups:
  web:
    ingress: [{protocol: tcp}, {to: any}, {}]
    egress: [{to: []}, {to: web}, {to: {name: web}}]
)")},
     R"(
blue.yaml:8:15: ingress rule 'web': from is missing; add from: any, a network, {group: NAME}, or a list of them
blue.yaml:8:32: ingress rule 'web': from is missing; add from: any, a network, {group: NAME}, or a list of them
blue.yaml:8:33: ingress rule 'web': unknown key 'to'; keys here are: from, protocol, ports, type, code, action, priority, log
blue.yaml:8:43: ingress rule of 'web': the rule is empty; write at least from: any, or remove it
blue.yaml:9:19: egress rule 'web': to: nobody is named; write any, a network, {group: NAME}, or a list of them
blue.yaml:9:29: egress rule 'web': to: 'web' is neither any nor a network; write {group: web} where a group is meant
blue.yaml:9:40: remote: group is missing; add the group's name, such as group: web
blue.yaml:9:41: remote: unknown key 'name'; keys here are: group
)"},
    {"a_protocol_is_a_name_or_a_number",
     {.blue = more(R"(
security_groups:
  web:
    ingress: [{from: any, protocol: http}, {from: any, protocol: 256}, {from: any, protocol: [tcp]}]
)")},
     R"(
blue.yaml:8:37: ingress rule 'web': protocol: 'http' is no protocol; write tcp, udp, icmp, icmpv6, any, or a protocol's number from 0 to 255
blue.yaml:8:66: ingress rule 'web': protocol: '256' is no protocol; write tcp, udp, icmp, icmpv6, any, or a protocol's number from 0 to 255
blue.yaml:8:94: ingress rule 'web': protocol: expected a protocol, found a list; write tcp, udp, icmp, icmpv6, any, or a protocol's number from 0 to 255
)"},
    {"ports_and_types_go_with_their_protocols",
     {.blue = more(R"(
security_groups:
  web:
    ingress:
      - {from: any, ports: 80}
      - {from: any, protocol: icmp, ports: [80]}
      - {from: any, protocol: tcp, ports: 90-80}
      - {from: any, protocol: tcp, ports: [0]}
      - {from: any, protocol: tcp, ports: []}
      - {from: any, protocol: tcp, type: 8}
      - {from: any, protocol: icmp, code: 0}
      - {from: any, protocol: icmp, type: 256}
)")},
     R"(
blue.yaml:9:28: ingress rule 'web': ports go with tcp and udp only; add protocol: tcp or udp, or remove them
blue.yaml:10:44: ingress rule 'web': ports go with tcp and udp only; add protocol: tcp or udp, or remove them
blue.yaml:11:43: ingress rule 'web': ports: '90-80' ends before it begins; write the lower port first
blue.yaml:12:44: ingress rule 'web': ports: '0' is out of range; write a range such as 1024-2047, or one port, from 1 to 65535
blue.yaml:13:43: ingress rule 'web': ports: none is named; leave ports out where all are meant
blue.yaml:14:42: ingress rule 'web': type and code go with icmp and icmpv6 only; add protocol: icmp or icmpv6, or remove them
blue.yaml:15:43: ingress rule 'web': code goes with a type; add type, or remove code
blue.yaml:16:43: ingress rule 'web': type: '256' is out of range; write a number from 0 to 255
)"},
    {"a_rule_is_logged_or_not",
     {.blue = more(R"(
security_groups:
  web:
    ingress: [{from: any, log: true}, {from: any, log: denied}]
)")},
     R"(
blue.yaml:8:56: ingress rule 'web': log: 'denied' is neither true nor false; write true or false, without quotes
)"},
    {"groups_that_are_named_are_there",
     {.blue = more(R"(
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1], security_groups: [app, web, web]}]
security_groups:
  web:
    ingress: [{from: {group: db}}]
)"),
      .green = more(R"(
ports: [{name: web, device: v1, mac: "02:00:00:00:00:01", addresses: [10.0.0.1], security_groups: [web]}]
)")},
     R"(
blue.yaml:6:100: port 'web': unknown security group 'app'; groups here are: web
blue.yaml:6:110: port 'web': security group 'web' is listed twice; keep one
blue.yaml:9:22: security group 'web': unknown security group 'db'; groups here are: web
green.yaml:6:100: port 'web': unknown security group 'web'; declare it in security_groups
)"},
    {"icmp_is_of_one_family",
     {.blue = more(R"(
security_groups:
  web:
    ingress: [{protocol: icmp, from: "fd00::/8"}, {protocol: icmpv6, from: [10.0.0.0/8]}]
)")},
     R"(
blue.yaml:8:38: security group 'web': fd00::/8 is IPv6, and icmp is IPv4's; write protocol: icmpv6, or an IPv4 network
blue.yaml:8:76: security group 'web': 10.0.0.0/8 is IPv4, and icmpv6 is IPv6's; write protocol: icmp, or an IPv6 network
)"},
    {"a_port_has_at_most_16_groups",
     {.blue = more(R"(
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1], security_groups: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q]}]
security_groups: {a: {}, b: {}, c: {}, d: {}, e: {}, f: {}, g: {}, h: {}, i: {}, j: {}, k: {}, l: {}, m: {}, n: {}, o: {}, p: {}, q: {}}
)")},
     R"(
blue.yaml:6:99: port 'web': 17 security groups are more than 16; join some of them
)"},
};

class GroupFaults : public testing::TestWithParam<FaultCase> {};

TEST_P(GroupFaults, are_named) { EXPECT_EQ(faults_of(GetParam()), lines(GetParam().faults)); }

INSTANTIATE_TEST_SUITE_P(Rows, GroupFaults, testing::ValuesIn(kCases), sentence_of);

std::string tenant_with(const std::string& groups) {
  return "apiVersion: sepal/v1\nkind: Tenant\nname: blue\nvni: 100\nsubnets: [10.0.0.0/24]\nsecurity_groups:\n" +
         groups;
}

ReadResult read(const std::string& groups) {
  return read_texts(
      {{"host.yaml", "apiVersion: sepal/v1\nkind: Host\nunderlay: {device: uplink, address: 192.0.2.1, mtu: 1600}\n"},
       {"blue.yaml", tenant_with(groups)}});
}

TEST(Groups, are_read_as_they_are_written) {
  const auto config = read(R"(  web:
    mode: audit
    members: [10.5.0.0/24, "fd00::7"]
    ingress:
      - {protocol: tcp, ports: [80, 8000-8100], from: [any]}
      - {protocol: icmp, type: 3, code: 4, from: [10.0.0.0/8, 192.0.2.7, {group: web}], action: deny, priority: 7}
    egress: [{protocol: 47, to: any}]
  all: {ingress: [{protocol: any, from: any}]}
  closed:
)");
  ASSERT_TRUE(config) << config.error().front().to_string();
  const auto& groups = config->tenants[0].security_groups;
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups[0].name, "all") << "sorted";
  EXPECT_EQ(groups[0].ingress[0].protocol, std::nullopt);
  EXPECT_EQ(groups[1].name, "closed");
  const SecurityGroup& web = groups[2];
  EXPECT_TRUE(web.audit);
  EXPECT_EQ(web.members, (std::vector<IpPrefix>{*IpPrefix::parse("10.5.0.0/24"), *IpPrefix::parse("fd00::7/128")}));
  EXPECT_EQ(web.ingress[0].ports, (std::vector<PortRange>{{80, 80}, {8000, 8100}}));
  EXPECT_TRUE(web.ingress[0].remote.any);
  EXPECT_TRUE(web.ingress[0].allow);
  EXPECT_EQ(web.ingress[0].priority, 1000);
  const GroupRule& deny = web.ingress[1];
  EXPECT_FALSE(deny.allow);
  EXPECT_EQ(deny.priority, 7);
  EXPECT_EQ(deny.icmp_type, 3);
  EXPECT_EQ(deny.icmp_code, 4);
  EXPECT_EQ(deny.remote.networks.size(), 2U);
  EXPECT_EQ(deny.remote.groups, std::vector<std::string>{"web"});
  EXPECT_EQ(web.egress[0].protocol, 47);
}

TEST(Groups, an_address_in_more_than_32_of_them_is_a_fault) {
  std::string nested = "  web:\n    ingress:\n";
  for (int length = 1; length <= 32; ++length) nested += "      - {from: 0.0.0.0/" + std::to_string(length) + "}\n";
  ASSERT_TRUE(read(nested)) << "32 networks around 0.0.0.0/32";
  const auto config = read(nested + "      - {from: 0.0.0.0/0}\n");
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().front().to_string().find(
                "0.0.0.0/32 is in 33 groups and networks of rules, more than 32; nest fewer networks"),
            std::string::npos)
      << config.error().front().to_string();
}

TEST(Groups, more_than_20000_rules_are_a_fault) {
  std::string many = "  web:\n    ingress:\n";
  for (int i = 0; i < 20'001; ++i) many += "    - {from: any}\n";
  const auto config = read(many);
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().front().to_string().find("20001 rules in security groups are more than 20000"),
            std::string::npos);
}

}  // namespace
}  // namespace sepal::config
