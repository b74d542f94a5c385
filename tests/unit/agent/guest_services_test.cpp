// Questions in, frames out: who is answered as whom, how much in a turn, and what is counted.
#include "agent/guest_services.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <stdexcept>

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

// Of web's guest, without a client identifier; with the checksum that a virtual NIC would complete.
std::vector<uint8_t> solicit6() {
  std::vector<uint8_t> frame(66);
  frame[6] = 0x02, frame[11] = 1;
  frame[12] = 0x86, frame[13] = 0xdd;
  frame[14] = 0x60, frame[19] = 12, frame[20] = 17, frame[21] = 1;
  frame[22] = 0xfe, frame[23] = 0x80, frame[37] = 9;
  frame[38] = 0xff, frame[39] = 0x02, frame[51] = 1, frame[53] = 2;
  frame[54] = 0x02, frame[55] = 0x22, frame[56] = 0x02, frame[57] = 0x23, frame[59] = 12;
  frame[60] = 0xfd, frame[61] = 0xac;
  frame[62] = 1;
  return frame;
}

// From a MAC that is nobody's.
std::vector<uint8_t> router_solicitation() {
  std::vector<uint8_t> frame(62);
  frame[12] = 0x86, frame[13] = 0xdd;
  frame[14] = 0x60, frame[19] = 8, frame[20] = 58, frame[21] = 255;
  frame[54] = 133;
  return frame;
}

bool is_router_advertisement(const std::vector<uint8_t>& frame) {
  return frame.size() > 61 && frame[12] == 0x86 && frame[13] == 0xdd && frame[54] == 134;
}
int router_lifetime(const std::vector<uint8_t>& frame) { return frame[60] << 8 | frame[61]; }

size_t count_of(const std::string& what, const std::string& text) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

// Of a guest at 02:00:00:00:00:MAC_END, for web's address.
std::vector<uint8_t> arp(uint8_t mac_end) {
  std::vector<uint8_t> frame(42);
  frame[6] = 0x02, frame[11] = mac_end;
  frame[12] = 0x08, frame[13] = 0x06;
  frame[15] = 1, frame[16] = 0x08, frame[18] = 6, frame[19] = 4, frame[21] = 1;
  frame[22] = 0x02, frame[27] = mac_end;
  frame[28] = 10, frame[31] = 1;
  frame[38] = 10, frame[41] = 254;
  return frame;
}

class GuestServicesTest : public ::testing::Test {
 protected:
  GuestServicesTest() {
    log::set_level(log::Level::error);
    hear();
    services_.serve(config_, ports_, now_);
  }

  void hear() { services_.hear(std::make_unique<FakeQuestions>(queue_, -1, &broken_)); }
  // The log of a turn.
  std::string log_of_a_turn() {
    log::set_level(log::Level::info);
    testing::internal::CaptureStderr();
    services_.answer_some(now_);
    log::set_level(log::Level::error);
    return testing::internal::GetCapturedStderr();
  }
  // All that is said unasked at the start, and forgets it.
  void let_pass_what_is_said_at_first() {
    services_.announce(now_);
    services_.announce(now_ + std::chrono::seconds(1));
    services_.advertise(now_);
    sent_.clear();
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
  bool throws_ = false;
  std::atomic<bool> broken_ = false;
  GuestServices services_{[this](IfIndex device, guest::FrameView frame) -> Result<void> {
    if (throws_) throw std::runtime_error("out of order");
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

TEST_F(GuestServicesTest, why_an_answer_was_not_sent_stands_in_the_log) {
  refuses_ = true;
  queue_.push_back({IfIndex(7), discover(1)});
  const std::string line = "guest-unanswered: tenant blue, port web: DHCPDISCOVER: DHCPOFFER, not sent: no room\n";
  EXPECT_EQ(count_of(line, log_of_a_turn()), 1U);
}

TEST_F(GuestServicesTest, a_guest_with_much_to_ask_does_not_hide_the_others_in_the_log) {
  for (int i = 0; i < 40; ++i) queue_.push_back({IfIndex(7), discover(1)});
  queue_.push_back({IfIndex(8), discover(2)});
  const std::string lines = log_of_a_turn();
  EXPECT_EQ(count_of("port web: ", lines), 5U);
  EXPECT_EQ(count_of("port db: ", lines), 1U);
  now_ += std::chrono::seconds(10);
  queue_.push_back({IfIndex(7), discover(1)});
  const std::string later = log_of_a_turn();
  EXPECT_EQ(count_of("guest-asked: and 35 more questions of guests", later), 1U);
  EXPECT_EQ(count_of("port web: ", later), 1U);
}

TEST_F(GuestServicesTest, questions_are_counted_by_what_they_are) {
  queue_.push_back({IfIndex(7), solicit6()});
  queue_.push_back({IfIndex(7), router_solicitation()});
  queue_.push_back({IfIndex(7), std::vector<uint8_t>(60)});
  services_.answer_some(now_);
  nlohmann::json kinds = services_.to_json()["questions"];
  EXPECT_EQ(kinds.size(), 3U) << kinds;
  for (const char* kind : {"DHCPv6 solicit", "router solicitation", "malformed"})
    EXPECT_EQ(kinds[kind]["asked"], 1) << kinds;
}

// What reads the ring is C: an exception that left us there would end the process, or worse.
TEST_F(GuestServicesTest, a_question_that_makes_answering_throw_is_counted_and_the_next_one_is_answered) {
  throws_ = true;
  queue_.push_back({IfIndex(7), discover(1)});
  EXPECT_EQ(count_of("guest-unanswered: tenant blue, port web: fault: out of order\n", log_of_a_turn()), 1U);
  throws_ = false;
  queue_.push_back({IfIndex(7), discover(1)});
  EXPECT_TRUE(services_.answer_some(now_));
  EXPECT_EQ(services_.to_json()["questions"]["fault"]["asked"], 1);
  EXPECT_EQ(services_.to_json()["questions"]["DHCPDISCOVER"]["answered"], 1);
}

TEST_F(GuestServicesTest, questions_that_cannot_be_read_are_let_go_of_said_once_and_heard_again_from_a_new_ring) {
  const std::string line = "guests-unheard: read the ring of a test\n";
  queue_.push_back({IfIndex(7), discover(1)});
  broken_ = true;
  EXPECT_EQ(count_of(line, log_of_a_turn()), 1U);
  EXPECT_FALSE(services_.hears());
  EXPECT_FALSE(services_.answer_some(now_));
  hear();
  EXPECT_EQ(log_of_a_turn(), "") << "a fault that lasts is one line";
  EXPECT_FALSE(services_.hears());
  broken_ = false;
  hear();
  EXPECT_TRUE(services_.answer_some(now_));
  EXPECT_EQ(sent_.size(), 1U);
  broken_ = true;
  EXPECT_EQ(count_of(line, log_of_a_turn()), 1U);
}

TEST_F(GuestServicesTest, a_port_that_appears_is_told_where_its_gateways_are_twice) {
  services_.announce(now_);
  // web: those of its three networks; db, without IPv6: those of its own, and 169.254.1.1, which is in every network.
  EXPECT_EQ(sent_.size(), 5U);
  EXPECT_EQ(services_.to_json()["announced"], 5);
  services_.announce(now_ + std::chrono::milliseconds(999));
  EXPECT_EQ(sent_.size(), 5U);
  services_.announce(now_ + std::chrono::seconds(1));
  EXPECT_EQ(sent_.size(), 10U);
  services_.announce(now_ + std::chrono::seconds(100));
  EXPECT_EQ(sent_.size(), 10U);
}

TEST_F(GuestServicesTest, a_gateway_with_another_mac_is_announced_and_the_same_one_is_not_again) {
  let_pass_what_is_said_at_first();
  services_.serve(config_, ports_, now_ + std::chrono::seconds(5));
  services_.announce(now_ + std::chrono::seconds(5));
  EXPECT_TRUE(sent_.empty());
  config::Config other = config_;
  other.host.gateway_mac.bytes[5] ^= 1;
  services_.serve(other, ports_, now_ + std::chrono::seconds(5));
  services_.announce(now_ + std::chrono::seconds(5));
  EXPECT_EQ(sent_.size(), 5U);
}

TEST_F(GuestServicesTest, what_a_router_says_is_told_at_once_when_it_changes_and_what_held_before_is_withdrawn) {
  let_pass_what_is_said_at_first();
  const auto later = now_ + std::chrono::seconds(10);
  config::Config other = config_;
  other.host.guests.dns = std::vector<IpAddr>{*IpAddr::parse("fd00::53")};
  services_.serve(other, ports_, later);
  EXPECT_EQ(services_.next(), later);
  services_.advertise(later);
  ASSERT_EQ(sent_.size(), 1U) << "nothing that was told before ends";
  EXPECT_TRUE(is_router_advertisement(sent_[0].frame));
  services_.serve(config_, ports_, later);
  services_.advertise(later);
  ASSERT_EQ(sent_.size(), 3U);
  for (const Sent& sent : sent_) {
    EXPECT_EQ(sent.device, IfIndex(7));
    EXPECT_EQ(router_lifetime(sent.frame), 65535);
  }
  EXPECT_EQ(services_.to_json()["advertised"], 3) << "withdrawals are none";
}

TEST_F(GuestServicesTest, what_no_router_says_changes_without_a_word) {
  let_pass_what_is_said_at_first();
  config::Config other = config_;
  other.tenants[0].ports[0].hostname = "www";
  services_.serve(other, ports_, now_ + std::chrono::seconds(10));
  EXPECT_EQ(services_.next(), now_ + std::chrono::seconds(200));
}

TEST_F(GuestServicesTest, a_router_that_is_switched_off_says_so_once) {
  let_pass_what_is_said_at_first();
  config::Config other = config_;
  other.host.guests.router_advertisements = false;
  services_.serve(other, ports_, now_);
  services_.advertise(now_);
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_TRUE(is_router_advertisement(sent_[0].frame));
  EXPECT_EQ(router_lifetime(sent_[0].frame), 0);
  services_.advertise(now_ + std::chrono::seconds(200));
  EXPECT_EQ(sent_.size(), 1U);
}

TEST_F(GuestServicesTest, a_withdrawal_that_could_not_be_sent_is_tried_again) {
  let_pass_what_is_said_at_first();
  config::Config other = config_;
  other.host.guests.router_advertisements = false;
  services_.serve(other, ports_, now_);
  refuses_ = true;
  services_.advertise(now_);
  refuses_ = false;
  services_.advertise(now_ + std::chrono::seconds(200));
  EXPECT_EQ(sent_.size(), 1U);
}

TEST_F(GuestServicesTest, a_device_that_is_another_ports_now_is_told_at_once_what_holds_there) {
  let_pass_what_is_said_at_first();
  const auto later = now_ + std::chrono::seconds(10);
  std::map<tc::PortKey, IfIndex> ports;
  ports[{"blue", "db"}] = IfIndex(7);
  services_.serve(config_, ports, later);
  EXPECT_EQ(services_.next(), later);
  services_.announce(later);
  EXPECT_EQ(sent_.size(), 2U) << "10.0.0.254 and 169.254.1.1";
  services_.advertise(later);
  ASSERT_EQ(sent_.size(), 3U);
  EXPECT_EQ(sent_[2].device, IfIndex(7));
  EXPECT_EQ(router_lifetime(sent_[2].frame), 0) << "db's guest has no IPv6 router";
}

TEST_F(GuestServicesTest, a_port_that_appears_is_advertised_to_at_once_and_then_at_intervals) {
  EXPECT_EQ(services_.next(), now_);
  services_.announce(now_);
  services_.announce(now_ + std::chrono::seconds(1));
  sent_.clear();
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
  EXPECT_EQ(web.gateways, (std::vector<IpAddr>{*IpAddr::parse("169.254.1.1"), *IpAddr::parse("fe80::1"),
                                               *IpAddr::parse("10.0.0.254")}));
  EXPECT_TRUE(web.dhcp && web.router_advertisements);
  const guest::Guest db = guest_of(config.host, blue, blue.ports[1]);
  EXPECT_EQ(db.hostname, "base");
  EXPECT_FALSE(db.dhcp);
}

class OpenMacTest : public GuestServicesTest {
 protected:
  OpenMacTest() {
    open().mac_is_open = true;
    open().mac = MacAddr();
    services_.serve(config_, ports_, now_);
    hear();
  }
  config::Port& open() { return config_.tenants[0].ports[0]; }
  void ask(const std::vector<uint8_t>& frame, Clock::time_point at) {
    queue_.push_back({IfIndex(7), frame});
    EXPECT_TRUE(services_.answer_some(at));
  }
  // Who web's guest last showed itself to be, and what happens then in the daemon.
  std::vector<MacAddr> learnt_;
  std::string refuses_to_learn_;
  GuestServices services_{[this](IfIndex device, guest::FrameView frame) -> Result<void> {
                            sent_.push_back({device, {frame.begin(), frame.end()}});
                            return {};
                          },
                          [this](const tc::PortKey& port, const std::string& seat, const MacAddr& mac) {
                            EXPECT_EQ(seat, "web");
                            EXPECT_EQ(port, (tc::PortKey{"blue", "web"}));
                            if (refuses_to_learn_.empty()) learnt_.push_back(mac);
                            return refuses_to_learn_;
                          }};
  void hear() { services_.hear(std::make_unique<FakeQuestions>(queue_, -1, &broken_)); }
};

MacAddr mac_ending(uint8_t end) { return {{2, 0, 0, 0, 0, end}}; }

TEST_F(OpenMacTest, the_first_word_of_a_guest_shows_where_it_is_and_is_answered_there) {
  ask(discover(9), now_);
  EXPECT_EQ(learnt_, std::vector{mac_ending(9)});
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_TRUE(std::equal(sent_[0].frame.begin() + 70, sent_[0].frame.begin() + 76, mac_ending(9).bytes.begin()));
  ask(discover(9), now_);
  EXPECT_EQ(learnt_.size(), 1U) << "known already";
  EXPECT_EQ(sent_.size(), 2U);
}

TEST_F(OpenMacTest, arp_shows_it_and_is_no_question) {
  ask(arp(9), now_);
  EXPECT_EQ(learnt_, std::vector{mac_ending(9)});
  EXPECT_TRUE(sent_.empty());
  EXPECT_EQ(services_.to_json()["questions"].size(), 0U);
  EXPECT_EQ(services_.to_json()["learnt"], 1);
}

TEST_F(OpenMacTest, a_guest_that_comes_back_as_another_is_followed_but_not_as_often_as_it_likes) {
  ask(arp(9), now_);
  ask(arp(10), now_ + std::chrono::seconds(9));
  EXPECT_EQ(learnt_.size(), 1U);
  ask(discover(10), now_ + std::chrono::seconds(9));
  EXPECT_TRUE(sent_.empty()) << "it is not known by this address yet";
  open().mac = mac_ending(9);
  services_.serve(config_, ports_, now_ + std::chrono::seconds(9));
  ask(arp(11), now_ + std::chrono::seconds(9));
  EXPECT_EQ(learnt_.size(), 1U) << "a reload in between makes it no faster";
  ask(arp(10), now_ + std::chrono::seconds(10));
  EXPECT_EQ(learnt_, (std::vector{mac_ending(9), mac_ending(10)}));
  ask(arp(9), now_ + std::chrono::seconds(29));
  EXPECT_EQ(learnt_.size(), 2U) << "twice as long the second time";
  ask(arp(9), now_ + std::chrono::seconds(30));
  EXPECT_EQ(learnt_.size(), 3U);
  ask(arp(10), now_ + std::chrono::hours(1));
  ask(arp(9), now_ + std::chrono::hours(1) + std::chrono::seconds(10));
  EXPECT_EQ(learnt_.size(), 5U) << "it was quiet meanwhile";
}

TEST_F(OpenMacTest, a_guest_that_is_not_known_any_more_is_heard_at_once) {
  ask(arp(9), now_);
  open().mac_is_open = false;
  open().mac = mac_ending(1);
  services_.serve(config_, ports_, now_);
  open().mac_is_open = true;
  open().mac = MacAddr();
  services_.serve(config_, ports_, now_);
  ask(arp(10), now_);
  EXPECT_EQ(learnt_, (std::vector{mac_ending(9), mac_ending(10)}));
}

TEST_F(OpenMacTest, who_cannot_be_there_is_not_answered_and_the_log_says_why) {
  refuses_to_learn_ = "that is the MAC address of port db";
  log::set_level(log::Level::info);
  testing::internal::CaptureStderr();
  ask(discover(2), now_);
  log::set_level(log::Level::error);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("that is the MAC address of port db"), std::string::npos);
  EXPECT_TRUE(sent_.empty());
}

TEST_F(OpenMacTest, a_configured_address_is_never_learnt) {
  queue_.push_back({IfIndex(8), arp(9)});
  EXPECT_TRUE(services_.answer_some(now_));
  EXPECT_TRUE(learnt_.empty());
}

}  // namespace
}  // namespace sepal::agent
