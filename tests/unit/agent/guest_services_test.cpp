// Questions in, frames out: who is answered as whom, how much in a turn, and what is counted.
#include "agent/guest_services.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/guest_of.hpp"
#include "base/log.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

using Clock = GuestServices::Clock;

constexpr std::string_view kYaml = R"(apiVersion: sepal/v1
kind: Host
underlay: {device: uplink, address: 192.0.2.1, mtu: 1600}
guests: {dns: [192.0.2.53]}
---
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: [{cidr: 10.0.0.0/24, gateway: 10.0.0.254}, 10.0.1.0/24, "fd00:100::/64"]
ports:
  - {name: web, device: web, mac: "02:00:00:00:00:01", addresses: [10.0.0.1, 10.0.1.1, "fd00:100::1"], guests: {domain: a.net}}
  - {name: db, device: db, mac: "02:00:00:00:00:02", addresses: [10.0.0.2], hostname: base, guests: {dhcp: false}}
)";

config::Config parsed() { return *config::read_texts({{"all.yaml", std::string(kYaml)}}); }

std::vector<uint8_t> discover(uint8_t mac_end) {
  std::vector<uint8_t> frame(42 + 240);
  frame[11] = mac_end;
  frame[6] = 0x02;
  frame[12] = 0x08;
  frame[14] = 0x45;
  frame[17] = static_cast<uint8_t>((frame.size() - 14 + 4) & 0xffU);
  frame[16] = static_cast<uint8_t>((frame.size() - 14 + 4) >> 8U);
  frame[23] = 17;
  frame[35] = 68, frame[37] = 67;
  frame[38] = static_cast<uint8_t>((frame.size() - 34 + 4) >> 8U);
  frame[39] = static_cast<uint8_t>((frame.size() - 34 + 4) & 0xffU);
  frame[42] = frame[43] = 1, frame[44] = 6;
  frame[70] = 0x02, frame[75] = mac_end;
  const uint8_t cookie[] = {0x63, 0x82, 0x53, 0x63};
  std::copy(std::begin(cookie), std::end(cookie), frame.begin() + 42 + 236);
  frame.insert(frame.end(), {53, 1, 1, 255});
  return frame;
}

class GuestServicesTest : public ::testing::Test {
 protected:
  GuestServicesTest() {
    log::set_level(log::Level::error);
    services_.hear(std::make_unique<FakeQuestions>(queue_, -1));
    services_.serve(config_, ports_, now_);
  }

  struct Sent {
    IfIndex device;
    std::vector<uint8_t> frame;
  };
  config::Config config_ = parsed();
  std::map<tc::PortKey, IfIndex> ports_{{{"blue", "web"}, IfIndex(7)}, {{"blue", "db"}, IfIndex(8)}};
  FakeQuestions::Queue queue_;
  std::vector<Sent> sent_;
  bool refuses_ = false;
  GuestServices services_{[this](IfIndex device, guest::FrameView frame) -> Result<void> {
    if (refuses_) return fail(Errc::transient, "no room");
    sent_.push_back({device, {frame.begin(), frame.end()}});
    return {};
  }};
  Clock::time_point now_{std::chrono::seconds(1000)};
};

TEST_F(GuestServicesTest, a_question_is_answered_out_of_the_port_it_came_from) {
  queue_.push_back({IfIndex(7), discover(1)});
  EXPECT_TRUE(services_.answer_some(now_));
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(sent_[0].device, IfIndex(7));
  const auto told = services_.to_json();
  EXPECT_EQ(told["questions"]["DHCPDISCOVER"]["asked"], 1);
  EXPECT_EQ(told["questions"]["DHCPDISCOVER"]["answered"], 1);
}

TEST_F(GuestServicesTest, ports_without_the_service_and_devices_that_are_no_ports_are_not_answered) {
  queue_.push_back({IfIndex(8), discover(2)});
  queue_.push_back({IfIndex(9), discover(1)});
  services_.answer_some(now_);
  EXPECT_TRUE(sent_.empty());
  EXPECT_EQ(services_.to_json()["from_no_port"], 1);
}

TEST_F(GuestServicesTest, a_turn_is_bounded_whatever_is_asked) {
  for (int i = 0; i < 1000; ++i) queue_.push_back({IfIndex(7), discover(1)});
  services_.answer_some(now_);
  EXPECT_EQ(sent_.size(), 64U);
  EXPECT_EQ(queue_.size(), 936U);
}

TEST_F(GuestServicesTest, what_cannot_be_sent_is_counted_and_forgotten) {
  refuses_ = true;
  queue_.push_back({IfIndex(7), discover(1)});
  EXPECT_TRUE(services_.answer_some(now_));
  EXPECT_EQ(services_.to_json()["unsent"], 1);
  EXPECT_EQ(services_.to_json()["questions"]["DHCPDISCOVER"]["answered"], 0);
}

TEST_F(GuestServicesTest, a_port_that_appears_is_advertised_to_at_once_and_then_at_intervals) {
  EXPECT_EQ(services_.next(), now_);
  services_.advertise(now_);
  ASSERT_EQ(sent_.size(), 1U) << "db has no IPv6 address";
  EXPECT_EQ(sent_[0].device, IfIndex(7));
  EXPECT_EQ(sent_[0].frame[54], 134);
  EXPECT_EQ(services_.next(), now_ + std::chrono::seconds(200));
  services_.advertise(now_ + std::chrono::seconds(199));
  EXPECT_EQ(sent_.size(), 1U);
  services_.serve(config_, ports_, now_ + std::chrono::seconds(199));
  services_.advertise(now_ + std::chrono::seconds(200));
  EXPECT_EQ(sent_.size(), 2U);
}

TEST_F(GuestServicesTest, a_changed_configuration_holds_for_the_next_question) {
  config::Config other = config_;
  other.tenants[0].ports[0].mac = other.tenants[0].ports[1].mac;
  services_.serve(other, ports_, now_);
  queue_.push_back({IfIndex(7), discover(1)});
  queue_.push_back({IfIndex(7), discover(2)});
  services_.answer_some(now_);
  EXPECT_EQ(sent_.size(), 1U) << "the second one alone is the port's MAC now";
}

TEST(GuestOf, is_what_the_configuration_says_of_the_port) {
  const config::Config config = parsed();
  const config::Tenant& blue = config.tenants[0];
  const guest::Guest web = guest_of(config.host, blue, blue.ports[0]);
  EXPECT_EQ(web.hostname, "web");
  EXPECT_EQ(web.domain, "a.net");
  EXPECT_EQ(web.mtu, 1550);
  EXPECT_EQ(web.mac, blue.ports[0].mac);
  EXPECT_EQ(web.gateway_mac, config.host.gateway_mac);
  const std::vector<guest::Address> addresses{
      {*IpAddr::parse("10.0.0.1"), *IpPrefix::parse("10.0.0.0/24"), *IpAddr::parse("10.0.0.254")},
      {*IpAddr::parse("10.0.1.1"), *IpPrefix::parse("10.0.1.0/24"), *IpAddr::parse("169.254.1.1")},
      {*IpAddr::parse("fd00:100::1"), *IpPrefix::parse("fd00:100::/64"), *IpAddr::parse("fe80::1")}};
  EXPECT_EQ(web.addresses, addresses);
  EXPECT_TRUE(web.dhcp && web.router_advertisements);
  const guest::Guest db = guest_of(config.host, blue, blue.ports[1]);
  EXPECT_EQ(db.hostname, "base");
  EXPECT_FALSE(db.dhcp);
}

}  // namespace
}  // namespace sepal::agent
