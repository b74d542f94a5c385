// How many rules a configuration makes: the formulas of docs/reference/pipeline.md, "How many rules". Who changes a
// group changes them there.
#include <gtest/gtest.h>

#include <set>

#include "tc/pipeline/pipeline.hpp"
#include "world.hpp"

namespace sepal::tc {
namespace {

using config::Config;
using config::Tenant;
using model::example_config;
using model::example_port;
using model::example_tenant;
using model::facts_with_all_ports;
using model::ip;
using model::kUplink;
using model::kVxlan;
using model::mac;
using model::prefix;

constexpr uint32_t kFirstPort = 10;  // facts_with_all_ports' first device

std::map<IfIndex, size_t> rules_by_block(const Config& config) {
  std::map<IfIndex, size_t> count;
  for (const CompiledRule& rule : compile(config, facts_with_all_ports(config)).rules) ++count[rule.rule.id.device];
  return count;
}

size_t rules_of(const Config& config, IfIndex device) { return rules_by_block(config)[device]; }

// The numbers the formulas speak of.
struct Size {
  size_t ports = 0;
  size_t routes = 0;
  size_t subnets = 0;
};

// Port 1 has one address, port 2 an IPv6 address more, port 3 a prefix more than that.
Tenant tenant_of(const Size& size) {
  Tenant t = example_tenant("blue", 100);
  while (t.subnets.size() > size.subnets) t.subnets.pop_back();
  if (size.subnets > 2) t.subnets.push_back({prefix("10.0.1.0/24"), std::nullopt, {}});
  for (uint8_t i = 1; i <= size.ports; ++i) {
    config::Port p = example_port("p" + std::to_string(i), i);
    if (i == 1 || size.subnets < 2) p.addresses.resize(1);
    if (i == 3) p.prefixes.push_back(prefix("10.0.0.128/28"));
    t.ports.push_back(p);
  }
  for (uint8_t i = 0; i < size.routes; ++i) {
    t.routes.push_back({IpPrefix::host(IpAddr::v4(10, 0, 0, static_cast<uint8_t>(200 + i))),
                        config::ViaVtep{ip("192.0.2.2")},
                        {},
                        {}});
  }
  return t;
}

size_t sources(const config::Port& port) { return port.addresses.size() + port.prefixes.size(); }

size_t families(const config::Port& port) {
  std::set<Family> found;
  for (const IpAddr& address : port.addresses) found.insert(address.family);
  return found.size();
}

Config base() {
  Config config = example_config();
  config.tenants = {tenant_of({3, 4, 2})};
  return config;
}

}  // namespace

TEST(Size, rules_grow_with_ports_times_routes_and_ports) {
  for (size_t ports = 0; ports <= 5; ++ports) {
    for (size_t routes : {0, 1, 7, 40}) {
      for (size_t subnets = 1; subnets <= 3; ++subnets) {
        SCOPED_TRACE(std::to_string(ports) + " ports, " + std::to_string(routes) + " routes, " +
                     std::to_string(subnets) + " subnets");
        Config config = example_config();
        config.tenants = {tenant_of({ports, routes, subnets})};
        const Tenant& t = config.tenants[0];
        size_t all = 0;
        for (const config::Port& port : t.ports) all += sources(port);
        const auto count = rules_by_block(config);
        for (size_t i = 0; i < ports; ++i) {
          EXPECT_EQ(count.at(IfIndex(static_cast<uint32_t>(kFirstPort + i))),
                    40 + 2 * families(t.ports[i]) + 2 * subnets + 6 * sources(t.ports[i]) + all + routes + ports);
        }
        EXPECT_EQ(count.at(kVxlan), ports == 0 ? 2 : 2 + 29 + 2 * subnets + all + ports);
        EXPECT_EQ(count.at(kUplink), 2U);
        EXPECT_EQ(count.size(), ports + 2);
      }
    }
  }
}

TEST(Size, tenants_add_up) {
  Config config = base();
  const size_t alone = rules_of(config, kVxlan);
  Tenant red = tenant_of({2, 1, 1});
  red.name = "red";
  red.vni = Vni(200);
  config.tenants.push_back(red);
  const auto both = rules_by_block(config);
  EXPECT_EQ(both.at(kVxlan), alone + 29 + 2 * 1 + 3 - 1 + 2);
  EXPECT_EQ(both.at(IfIndex(kFirstPort)), rules_of(base(), IfIndex(kFirstPort)));
  EXPECT_EQ(both.at(IfIndex(kFirstPort + 3)), 40U + 2 + 2 * 1 + 6 * 1 + 2 + 1 + 2);
}

TEST(Size, what_lies_outside_the_subnets_stands_among_new_connections_too) {
  const auto before = rules_by_block(base());
  Config config = base();
  config.tenants[0].routes.push_back({prefix("172.16.0.0/12"), config::ViaVtep{ip("192.0.2.2")}, {}, {}});
  EXPECT_EQ(rules_of(config, IfIndex(kFirstPort)), before.at(IfIndex(kFirstPort)) + 2);
  EXPECT_EQ(rules_of(config, kVxlan), before.at(kVxlan));
  config = base();
  config.tenants[0].ports[2].prefixes.push_back(prefix("172.16.0.0/12"));
  EXPECT_EQ(rules_of(config, IfIndex(kFirstPort)), before.at(IfIndex(kFirstPort)) + 2);
  EXPECT_EQ(rules_of(config, kVxlan), before.at(kVxlan) + 2);
}

TEST(Size, a_route_that_covers_a_subnet_adds_that_subnet_to_routing) {
  Config config = base();
  const auto before = rules_by_block(config);
  config.tenants[0].routes.push_back({prefix("0.0.0.0/0"), config::ViaBlackhole{}, {}, {}});
  const size_t covered = 1;  // of the two subnets one is IPv4
  EXPECT_EQ(rules_of(config, IfIndex(kFirstPort)), before.at(IfIndex(kFirstPort)) + 2 + covered);
  // Where new connections may begin both ways, the subnet needs no word of its own among them.
  config.tenants[0].routes.back().via = config::ViaVtep{ip("192.0.2.2")};
  EXPECT_EQ(rules_of(config, IfIndex(kFirstPort)), before.at(IfIndex(kFirstPort)) + 2);
  EXPECT_EQ(rules_of(config, kVxlan), before.at(kVxlan));
}

TEST(Size, nat_and_slices_and_vlans_cost_what_the_reference_says) {
  Config config = base();
  config.host.public_net = config::Public{std::nullopt, {ip("198.51.100.1")}, mac("02:00:00:00:99:01"), true, {}};
  Tenant& t = config.tenants[0];
  const IfIndex port(kFirstPort);
  size_t before = rules_of(config, port);
  t.nat = {{prefix("10.0.0.0/24"), ip("203.0.113.10"), PortRange{1024, 2047}, {}}};
  EXPECT_EQ(rules_of(config, port), before + 2) << "translating again";
  before = rules_of(config, port);
  t.routes.push_back({prefix("8.8.0.0/16"), config::ViaPublic{}, {}, {}});
  EXPECT_EQ(rules_of(config, port), before + 2 + (1 + 3)) << "routing, and new connections";
  const size_t aligned = rules_of(config, kUplink);
  t.nat[0].ports = PortRange{1, 0xfffe};
  EXPECT_EQ(rules_of(config, kUplink), aligned + 2 * (2 * 30 - 2 * 1)) << "chain 0, and by port";
  t.vlans = {{Vid(40), mac("02:00:00:00:77:01"), {}}};
  before = rules_of(config, kUplink);
  t.vlans.push_back({Vid(41), mac("02:00:00:00:77:02"), {}});
  EXPECT_EQ(rules_of(config, kUplink), before + 8);
}

}  // namespace sepal::tc
