// What a sound configuration means, and how reading behaves as a whole: order, equality, bounds, hostile bytes.
#include <gtest/gtest.h>

#include "base/limits.hpp"
#include "config/read.hpp"

namespace sepal::config {
namespace {

const std::string kHost =
    "apiVersion: sepal/v1\nkind: Host\n"
    "underlay: {device: uplink, address: 192.0.2.1}\npublic: {gateway: [198.51.100.1, '2001:db8:30::1']}\n";

std::string tenant(const std::string& name, int vni, const std::string& more) {
  return "apiVersion: sepal/v1\nkind: Tenant\nname: " + name + "\nvni: " + std::to_string(vni) +
         "\nsubnets: [{cidr: 10.0.0.0/24, gateway: 10.0.0.254}, \"fd00:100::/64\"]\n" + more;
}

// The configuration, or a test failure that shows the faults.
Config read(const std::vector<SourceText>& sources) {
  auto result = read_texts(sources);
  if (result) return *result;
  for (const Fault& fault : result.error()) ADD_FAILURE() << fault.to_string();
  return {};
}

std::string first_fault(const std::vector<SourceText>& sources) {
  auto result = read_texts(sources);
  return result ? "none" : result.error().front().to_string();
}

TEST(Reading, fills_in_the_defaults) {
  Host host = read({{"h", kHost}}).host;
  EXPECT_TRUE(host.nic.manual_representors);
  EXPECT_EQ(host.underlay.mtu, 1500);
  EXPECT_FALSE(host.underlay.vlan);
  EXPECT_EQ(host.vxlan.device, "sepal-vxlan");
  EXPECT_EQ(host.vxlan.port, 4789);
  EXPECT_TRUE(host.public_net->answer_arp);
  EXPECT_FALSE(host.public_net->gateway_mac);
  EXPECT_EQ(host.gateway_mac.to_string(), "02:73:65:70:61:6c");
  EXPECT_EQ(host.limits.arp_nd_per_second, 200U);
  EXPECT_EQ(host.limits.hardware_rules, std::nullopt);
  EXPECT_EQ(host.limits.dhcp_per_second, 20U);
}

TEST(Reading, what_a_port_leaves_out_of_guests_is_its_tenants_and_then_the_hosts) {
  const std::string host = std::string(kHost) + "guests: {dhcp: false, dns: [192.0.2.53], domain: host.net}\n";
  const std::string tenant = R"(apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: [10.0.0.0/24]
guests: {dhcp: true, domain: blue.net, boot: {file: a}}
ports:
  - {name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1], guests: {dns: [], boot: {ipxe: b}}}
)";
  const Config config = read({{"h", host}, {"t", tenant}});
  const Tenant& blue = config.tenants[0];
  const PortServices services = port_services(config.host, blue, blue.ports[0]);
  EXPECT_TRUE(services.dhcp);
  EXPECT_TRUE(services.router_advertisements);
  EXPECT_TRUE(services.dns.empty());
  EXPECT_EQ(services.domain, "blue.net");
  EXPECT_EQ(services.lease_seconds, 86400U);
  EXPECT_EQ(services.boot, (Boot{std::nullopt, "", "b", ""}));
}

TEST(Reading, counts_the_vfs_that_are_ours_once_and_in_order) {
  const std::string host = std::string(kHost) + "nic: {pci: \"0000:3b:00.0\", vfs: 16, only: [12, 1-3, 2-4]}\n";
  const Nic nic = read({{"h", host}}).host.nic;
  EXPECT_EQ(nic.only, (std::vector<uint16_t>{1, 2, 3, 4, 12}));
  EXPECT_TRUE(nic.owns(12));
  EXPECT_FALSE(nic.owns(5));
  const std::string all = std::string(kHost) + "nic: {pci: \"0000:3b:00.0\", vfs: 16}\n";
  EXPECT_TRUE(read({{"h", all}}).host.nic.owns(15));
  EXPECT_FALSE(read({{"h", all}}).host.nic.owns(16));
}

TEST(Reading, knows_every_way_a_route_can_lead) {
  Config config = read({{"h", kHost}, {"t", tenant("blue", 100, R"(
ports: [{name: web, device: v0, mac: 02:00:00:00:00:01, addresses: [10.0.0.1]}]
vlans: [{id: 40, gateway_mac: "02:00:00:00:40:01"}]
nat: [{from: 10.0.0.0/24, address: 203.0.113.10, ports: 1024-2047}]
routes:
  - {to: 10.1.0.0/16, via: 192.0.2.2}
  - {to: 10.2.0.0/16, via: web}
  - {to: 10.3.0.0/16, via: {port: web}}
  - {to: 10.4.0.0/16, via: {vlan: 40}}
  - {to: 0.0.0.0/0, via: public}
  - {to: 10.6.0.0/16, via: blackhole}
)")}});
  const auto& routes = config.tenants.at(0).routes;
  ASSERT_EQ(routes.size(), 6U);
  EXPECT_EQ(routes[0].via, Via(ViaVtep{IpAddr::v4(192, 0, 2, 2)}));
  EXPECT_EQ(routes[1].via, Via(ViaPort{"web"}));
  EXPECT_EQ(routes[2].via, Via(ViaPort{"web"}));
  EXPECT_EQ(routes[3].via, Via(ViaVlan{Vid(40)}));
  EXPECT_EQ(routes[4].via, Via(ViaPublic{}));
  EXPECT_EQ(routes[5].via, Via(ViaBlackhole{}));
  EXPECT_EQ(routes[5].where.line, 16U);
  EXPECT_EQ(config.tenants[0].nat.at(0).ports, (PortRange{1024, 2047}));
  EXPECT_EQ(config.tenants[0].ports.at(0).mac.to_string(), "02:00:00:00:00:01");
  EXPECT_EQ(config.tenants[0].subnets.at(0).gateway, IpAddr::v4(10, 0, 0, 254));
}

TEST(Reading, sorts_tenants_by_vni_whatever_the_files_are) {
  Config one =
      read({{"h", kHost}, {"a", tenant("a", 300, "") + "---\n" + tenant("b", 100, "")}, {"c", tenant("c", 200, "")}});
  Config other =
      read({{"c", tenant("c", 200, "")}, {"b", tenant("b", 100, "")}, {"a", tenant("a", 300, "")}, {"h", kHost}});
  ASSERT_EQ(one.tenants.size(), 3U);
  EXPECT_EQ(one.tenants[0].name, "b");
  EXPECT_EQ(one.tenants[2].name, "a");
  EXPECT_EQ(one, other);
}

TEST(Reading, the_same_text_twice_is_the_same_configuration) {
  std::vector<SourceText> sources = {{"h", kHost},
                                     {"t", tenant("blue", 100, "routes: [{to: 10.9.0.0/16, via: blackhole}]\n")}};
  EXPECT_EQ(read(sources), read(sources));
}

TEST(Reading, layout_and_line_ends_carry_no_meaning) {
  std::string block = tenant("blue", 100, "routes:\n  - to: 10.9.0.0/16\n    via: blackhole   # nowhere\n");
  std::string crlf;
  for (char c : block) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  std::string flow = "\xef\xbb\xbf" + tenant("blue", 100, "routes: [{via: \"blackhole\", to: '10.9.0.0/16'}]\n");
  EXPECT_EQ(read({{"h", kHost}, {"t", block}}), read({{"h", kHost}, {"t", flow}}));
  EXPECT_EQ(read({{"h", kHost}, {"t", block}}), read({{"h", kHost}, {"t", crlf}}));
}

TEST(Reading, a_configuration_made_by_hand_is_judged_without_places) {
  Config config = read({{"h", kHost}, {"t", tenant("blue", 100, "")}});
  EXPECT_TRUE(validate(config).empty());
  config.tenants[0].peers = {"red"};
  config.tenants[0].where = {};
  config.files.clear();
  auto faults = validate(config);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(faults[0].to_string(),
            "tenant 'blue': peer 'red' is no tenant of this host; declare a tenant of that name, or remove it");
}

TEST(Reading, faults_are_bounded_and_the_rest_is_counted) {
  std::string text = tenant("blue", 100, "peers:\n");
  for (int i = 0; i < 5'000; ++i) text += "  - X\n";
  auto result = read_texts({{"h", kHost}, {"t", text}});
  ASSERT_FALSE(result);
  ASSERT_EQ(result.error().size(), limits::kFaultsShownMax + 1);
  EXPECT_EQ(result.error().back().to_string(), "… and 4800 more; correct those above first");
}

TEST(Bytes, that_are_not_utf8_are_named_by_line_and_column) {
  EXPECT_EQ(first_fault({{"t", "a: b\nc: \xff\n"}}), "t:2:4: byte 0xff is not UTF-8; save the file as UTF-8");
  for (const char* bad : {"\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80", "\xf0\x8f\xbf\xbf"}) {
    EXPECT_NE(first_fault({{"t", bad}}).find("is not UTF-8"), std::string::npos);
  }
  for (const char* good : {"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x8c\xb1", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(first_fault({{"t", good}}).find("is not UTF-8"), std::string::npos);
  }
}

TEST(Bytes, of_control_are_refused) {
  EXPECT_EQ(first_fault({{"t", std::string("a: b\n\0", 6)}}),
            "t:2:1: control character 0x00; remove it; only text belongs here");
  EXPECT_EQ(first_fault({{"t", "a: \x1b[31m"}}), "t:1:4: control character 0x1b; remove it; only text belongs here");
  EXPECT_EQ(first_fault({{"t", "a: b\rc: d"}}), "t:1:5: control character 0x0d; remove it; only text belongs here");
}

TEST(Bytes, that_yaml_does_not_allow_are_named_by_line_and_column) {
  EXPECT_EQ(first_fault({{"t", "a: \xc3\xa4\nb: \xc3\xa4\xc2\x80\n"}}),
            "t:2:6: not valid YAML: control characters are not allowed; remove it; only text belongs here");
}

TEST(Bytes, are_what_columns_count_and_line_feeds_are_what_lines_count) {
  const std::string blue = tenant("blue", 100, "");  // five lines
  const std::string line_separator = "# \xe2\x80\xa8\n";
  const std::string routes = "routes: [{via: \"\xc3\xa4\xf0\x9f\x8c\xb1\", colour: red}]\n";
  auto result = read_texts({{"h", kHost}, {"t", "\xef\xbb\xbf" + blue + line_separator + routes}});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().back().to_string(), "t:7:26: route: unknown key 'colour'; keys here are: to, via, vni");
}

TEST(Bytes, of_a_byte_order_mark_are_no_column) {
  EXPECT_EQ(first_fault({{"t", "\xef\xbb\xbfkind: \xc3\xa4 : x\n"}}).substr(0, 7), "t:1:10:");
}

TEST(Bytes, beyond_the_size_are_not_looked_at) {
  std::string large(limits::kConfigFileBytesMax + 1, '[');
  EXPECT_EQ(first_fault({{"t", large}}), "t: larger than 16 MiB; split it, or remove what is not configuration");
}

TEST(Bytes, of_all_files_together_have_a_bound) {
  std::string large(limits::kConfigFileBytesMax, '\xff');  // refused at its first byte, and counted all the same
  std::vector<SourceText> sources(5, {"t", large});
  auto result = read_texts(sources);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().back().to_string(),
            "t: the files together are larger than 64 MiB; remove what is not configuration");
}

TEST(Bomb, of_aliases_is_one_line) {
  std::string bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n";
  for (char c = 'b'; c < 'k'; ++c) {
    std::string last(1, static_cast<char>(c - 1));
    bomb += std::string(1, c) + ": &" + c + " [*" + last;
    for (int i = 0; i < 8; ++i) bomb += ", *" + last;
    bomb += "]\n";
  }
  EXPECT_EQ(first_fault({{"h", kHost}, {"t", bomb}}),
            "t:1:1: the document has no apiVersion; add apiVersion: sepal/v1");
  auto result = read_texts({{"h", kHost}, {"t", bomb}});
  EXPECT_EQ(result.error().size(), 3U);  // no apiVersion, no kind, and the anchors
}

// There are parsers that report empty documents for ever where a stray ',' or ']' stands behind a document.
TEST(Bomb, of_endless_documents_ends_at_the_first) {
  EXPECT_EQ(first_fault({{"h", kHost}, {"t", "---\n{}, f\n"}}),
            "t:2:1: the document has no apiVersion; add apiVersion: sepal/v1");
  auto result = read_texts({{"h", kHost}, {"t", "---\n{}, f\n"}});
  EXPECT_EQ(result.error().back().to_string(),
            "t:2:3: not valid YAML: unexpected text behind the end of a document; look at the indentation, the quotes "
            "and the brackets at this place and just before it");
}

TEST(Bomb, of_brackets_is_refused_before_it_is_parsed) {
  EXPECT_NE(first_fault({{"t", std::string(limits::kYamlNodesMax + 2, '[')}}).find("brackets and commas"),
            std::string::npos);
}

TEST(Bomb, of_nesting_does_not_reach_the_stack) {
  for (const char* open : {"[", "{a: ", "- ", "? "}) {
    std::string text;
    for (int i = 0; i < 20'000; ++i) text += open;
    EXPECT_NE(first_fault({{"t", text}}).find("nested deeper than 32 levels"), std::string::npos) << open;
  }
}

}  // namespace
}  // namespace sepal::config
