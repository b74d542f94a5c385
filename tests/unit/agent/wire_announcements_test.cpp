// What the wire is told, how often, and what of it a change makes due again.
#include "agent/wire_announcements.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "config/read.hpp"

namespace sepal::agent {
namespace {

using std::chrono::seconds;

config::Config parsed(const std::string& ports) {
  const std::string text = R"(apiVersion: sepal/v1
kind: Host
underlay: {device: uplink, address: 192.0.2.1, mtu: 1600}
public: {gateway: 198.51.100.1, gateway_mac: "02:00:00:00:99:01"}
---
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: [10.0.0.0/24, "fd00:100::/64"]
vlans: [{id: 40, gateway_mac: "02:00:00:00:40:01"}]
nat: [{from: 10.0.0.0/24, address: 203.0.113.10}]
ports:
)" + ports;
  auto read = config::read_texts({{"all.yaml", text}});
  EXPECT_TRUE(read) << (read ? "" : read.error().front().to_string());
  return read ? *read : config::Config{};
}

const std::string kWeb =
    "  - {name: web, device: web, mac: \"02:00:00:00:00:01\", addresses: [10.0.0.1, \"fd00:100::1\"]}\n";
const std::string kApp = "  - {name: app, device: app, mac: \"02:00:00:00:00:03\", addresses: [10.0.0.3]}\n";

class OnTheWire : public ::testing::Test {
 protected:
  void follow(const std::string& ports,
              std::map<tc::PortKey, IfIndex> devices = {{{"blue", "web"}, IfIndex(7)}, {{"blue", "app"}, IfIndex(8)}}) {
    announcements_.follow(parsed(ports), devices, wire_, now_);
  }
  // All that is said until nothing is due, as "vlan 40 10.0.0.1", in the order it is said.
  std::vector<std::string> said() {
    said_.clear();
    while (const auto next = announcements_.next()) {
      now_ = std::max(now_, *next);
      announcements_.announce(now_);
    }
    return said_;
  }
  void hear(IfIndex device, guest::FrameView frame) {
    EXPECT_EQ(device, wire_.device);
    EXPECT_TRUE(std::equal(wire_.mac.bytes.begin(), wire_.mac.bytes.end(), frame.begin() + 6));
    const bool tagged = frame[12] == 0x81;
    const size_t type = tagged ? 16 : 12;
    std::string text = tagged ? "vlan " + std::to_string(frame[15]) + " " : "";
    text += frame[type] == 0x08
                ? IpAddr::v4(frame[type + 16], frame[type + 17], frame[type + 18], frame[type + 19]).to_string()
                : std::string("IPv6");
    said_.push_back(text);
  }
  Wire wire_{IfIndex(2), {{2, 0, 0, 0, 0x88, 1}}};
  std::vector<std::string> said_;
  std::chrono::steady_clock::time_point now_{seconds(1000)};
  bool refuses_ = false;
  WireAnnouncements announcements_{[this](IfIndex device, guest::FrameView frame) -> Result<void> {
    if (refuses_) return fail(Errc::transient, "it is down");
    hear(device, frame);
    return {};
  }};
};

TEST_F(OnTheWire, ports_on_vlans_and_public_addresses_are_said_twice) {
  follow(kWeb);
  const auto begin = now_;
  EXPECT_EQ(said(), (std::vector<std::string>{"203.0.113.10", "vlan 40 10.0.0.1", "vlan 40 IPv6", "203.0.113.10",
                                              "vlan 40 10.0.0.1", "vlan 40 IPv6"}));
  EXPECT_EQ(now_ - begin, seconds(1));
  EXPECT_EQ(announcements_.announced(), 6U);
}

TEST_F(OnTheWire, a_change_says_what_is_new_and_nothing_else) {
  follow(kWeb);
  said();
  follow(kWeb);
  EXPECT_TRUE(said().empty());
  follow(kWeb + kApp);
  EXPECT_EQ(said(), (std::vector<std::string>{"vlan 40 10.0.0.3", "vlan 40 10.0.0.3"}));
  follow(kApp);
  EXPECT_TRUE(said().empty());
  follow(kApp + kWeb);
  EXPECT_EQ(said().size(), 4U) << "it came back: who knows where it was";
}

TEST_F(OnTheWire, who_is_not_here_is_not_said_to_be) {
  follow(kWeb, {});
  EXPECT_EQ(said(), (std::vector<std::string>{"203.0.113.10", "203.0.113.10"}));
  follow("  - {name: web, device: web, addresses: [10.0.0.1]}\n");
  EXPECT_TRUE(said().empty()) << "its MAC address is not known yet";
}

TEST_F(OnTheWire, another_uplink_is_told_all) {
  follow(kWeb);
  said();
  wire_.mac.bytes[5] = 2;
  follow(kWeb);
  EXPECT_EQ(said().size(), 6U);
}

TEST_F(OnTheWire, many_are_said_at_a_pace_and_a_wire_that_takes_nothing_is_not_asked_for_ever) {
  std::string ports;
  std::map<tc::PortKey, IfIndex> devices;
  for (uint32_t i = 1; i <= 200; ++i) {
    const std::string name = "p" + std::to_string(i);
    char mac[24];
    std::snprintf(mac, sizeof mac, "02:00:00:00:01:%02x", i);
    ports += "  - {name: " + name + ", device: " + name + ", mac: \"" + mac + "\", addresses: [10.0.0." +
             std::to_string(i) + "]}\n";
    devices[{"blue", name}] = IfIndex(100 + i);
  }
  follow(ports, devices);
  announcements_.announce(now_);
  EXPECT_EQ(said_.size(), 64U);
  announcements_.announce(now_);
  EXPECT_EQ(said_.size(), 64U) << "too early";
  refuses_ = true;
  EXPECT_TRUE(said().empty());
  EXPECT_EQ(announcements_.announced(), 64U);
}

}  // namespace
}  // namespace sepal::agent
