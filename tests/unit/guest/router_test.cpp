// Router solicitations and what is advertised (RFC 4861, 8106).
#include "guest/router.hpp"

#include <gtest/gtest.h>
#include <tins/ethernetII.h>
#include <tins/ipv6.h>

#include "tests/unit/guest/frames6.hpp"

namespace sepal::guest {
namespace {

using Tins::ICMPv6;

// Made by scapy 2.5.0 alone:
//   Ether(src="02:00:00:00:00:0a", dst="33:33:00:00:00:02")/IPv6(src="fe80::ff:fe00:a", dst="ff02::2", hlim=255)
//     /ICMPv6ND_RS()/ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:0a")
constexpr const char* kSolicitation =
    "33330000000202000000000a86dd6000000000103afffe80000000000000000000fffe00000aff020000000000000000000000000002"
    "85007b1a00000000010102000000000a";
//   the same from "::" and without the option
constexpr const char* kSolicitationOfNobody =
    "33330000000202000000000a86dd6000000000083aff00000000000000000000000000000000ff020000000000000000000000000002"
    "85007bb800000000";
//   Ether(src="02:ff:ff:ff:ff:01", dst="02:00:00:00:00:0a")/IPv6(src="fe80::1", dst="fe80::ff:fe00:a", hlim=255)
//     /ICMPv6ND_RA(chlim=64, M=1, O=1, prf=0, routerlifetime=65535)/ICMPv6NDOptSrcLLAddr(lladdr="02:ff:ff:ff:ff:01")
//     /ICMPv6NDOptMTU(mtu=1450)
//     /ICMPv6NDOptPrefixInfo(prefixlen=64, L=1, A=0, prefix="2001:db8:1::", validlifetime=2592000,
//       preferredlifetime=604800)/ICMPv6NDOptPrefixInfo(prefixlen=48, prefix="2001:db8:2::", the rest as before)
//     /ICMPv6NDOptRDNSS(lifetime=65535, dns=["2001:db8:53::1", "2001:db8:53::2"])
//     /ICMPv6NDOptDNSSL(lifetime=65535, searchlist=["net.example.com."])
constexpr const char* kAdvertisement =
    "02000000000a02ffffffff0186dd6000000000a83afffe800000000000000000000000000001fe80000000000000000000fffe00000a"
    "8600035040c0ffff0000000000000000010102ffffffff0105010000000005aa0304408000278d0000093a800000000020010db80001"
    "000000000000000000000304308000278d0000093a800000000020010db8000200000000000000000000190500000000ffff20010db8"
    "00530000000000000000000120010db80053000000000000000000021f0400000000ffff036e6574076578616d706c6503636f6d0000"
    "000000000000";

ICMPv6 advertised_in(const std::optional<Frame>& frame) {
  if (!frame) {
    ADD_FAILURE() << "no advertisement";
    return {};
  }
  return {frame->data() + 54, static_cast<uint32_t>(frame->size() - 54)};
}

class Router : public testing::Test {
 protected:
  std::string refusal(const Frame& frame) {
    const Answer answer = answer_router_solicitation(frame, guest_);
    EXPECT_FALSE(answer.frame);
    return answer.what;
  }
  std::vector<ICMPv6::prefix_info_type> prefixes() {
    std::vector<ICMPv6::prefix_info_type> found;
    const ICMPv6 message = advertised_in(router_advertisement(guest_));
    for (const auto& option : message.options()) {
      if (option.option() == ICMPv6::PREFIX_INFO) found.push_back(option.to<ICMPv6::prefix_info_type>());
    }
    return found;
  }

  Guest guest_ = two_networks();
};

TEST_F(Router, a_solicitation_of_scapy_gets_the_advertisement_of_scapy_byte_by_byte) {
  const Answer answer = answer_router_solicitation(hex(kSolicitation), guest_);
  ASSERT_TRUE(answer.frame) << answer.what;
  EXPECT_EQ(hex(*answer.frame), kAdvertisement);
  EXPECT_EQ(answer.what, "router solicitation: router advertisement");
}

TEST_F(Router, who_has_no_address_yet_is_answered_to_all_nodes_as_without_a_question) {
  const Answer answer = answer_router_solicitation(hex(kSolicitationOfNobody), guest_);
  ASSERT_TRUE(answer.frame) << answer.what;
  EXPECT_EQ(hex(*answer.frame).substr(0, 12), "333300000001");
  EXPECT_EQ(hex(*answer.frame).substr(76, 32), "ff020000000000000000000000000001");
  EXPECT_EQ(answer.frame, router_advertisement(guest_));
}

TEST_F(Router, its_own_global_address_may_ask_and_another_may_not) {
  Way way = kToRouters;
  way.source = "2001:db8:1::a";
  EXPECT_TRUE(answer_router_solicitation(icmp6_frame(ICMPv6(ICMPv6::ROUTER_SOLICIT), way), guest_).frame);
  way.source = "2001:db8:1::b";
  EXPECT_EQ(refusal(icmp6_frame(ICMPv6(ICMPv6::ROUTER_SOLICIT), way)), "router solicitation from another address");
  way = kToRouters;
  way.source_mac.bytes[5] = 0x0b;
  EXPECT_EQ(refusal(icmp6_frame(ICMPv6(ICMPv6::ROUTER_SOLICIT), way)), "router solicitation from another MAC");
  way = kToRouters;
  way.destination = "ff02::1";
  EXPECT_EQ(refusal(icmp6_frame(ICMPv6(ICMPv6::ROUTER_SOLICIT), way)), "router solicitation to another router");
}

TEST_F(Router, without_dhcp_nothing_is_managed_and_still_nobody_makes_addresses) {
  guest_.dhcp = false;
  const ICMPv6 message = advertised_in(router_advertisement(guest_));
  EXPECT_EQ(message.managed(), 0);
  EXPECT_EQ(message.other(), 0);
  ASSERT_EQ(prefixes().size(), 2U);
  for (const auto& prefix : prefixes()) {
    EXPECT_EQ(prefix.A, 0);
    EXPECT_EQ(prefix.L, 1);
  }
}

TEST_F(Router, a_network_is_advertised_once_and_a_single_address_is_none) {
  guest_.addresses.push_back({ip("2001:db8:1::b"), *IpPrefix::parse("2001:db8:1::/64"), ip("fe80::1")});
  guest_.addresses.push_back({ip("2001:db8:7::1"), *IpPrefix::parse("2001:db8:7::1/128"), ip("fe80::1")});
  guest_.addresses.push_back({ip("fe80::5"), *IpPrefix::parse("fe80::/64"), ip("fe80::1")});
  EXPECT_EQ(prefixes().size(), 2U);
}

TEST_F(Router, what_the_port_does_not_have_is_not_advertised) {
  guest_.dns = {ip("10.0.0.53")};
  guest_.domain.clear();
  guest_.mtu = 1279;  // no MTU of IPv6
  const ICMPv6 message = advertised_in(router_advertisement(guest_));
  EXPECT_EQ(message.search_option(ICMPv6::RECURSIVE_DNS_SERV), nullptr);
  EXPECT_EQ(message.search_option(ICMPv6::DNS_SEARCH_LIST), nullptr);
  EXPECT_EQ(message.search_option(ICMPv6::MTU), nullptr);
}

TEST_F(Router, a_dot_at_the_end_of_the_domain_changes_nothing_and_what_is_no_name_is_left_out) {
  const auto plain = router_advertisement(guest_);
  guest_.domain = "net.example.com.";
  EXPECT_EQ(router_advertisement(guest_), plain);
  for (const std::string& domain : {std::string("a..b"), std::string(300, 'a'), std::string("."), std::string(".a")}) {
    guest_.domain = domain;
    EXPECT_EQ(advertised_in(router_advertisement(guest_)).search_option(ICMPv6::DNS_SEARCH_LIST), nullptr) << domain;
  }
}

TEST_F(Router, a_guest_without_ipv6_or_with_it_off_hears_nothing) {
  Guest without = guest_;
  without.addresses.resize(1);
  EXPECT_EQ(router_advertisement(without), std::nullopt);
  EXPECT_EQ(answer_router_solicitation(hex(kSolicitation), without).what, "router solicitation: no IPv6 address");
  guest_.router_advertisements = false;
  EXPECT_EQ(router_advertisement(guest_), std::nullopt);
  EXPECT_EQ(refusal(hex(kSolicitation)), "router solicitation: off");
}

TEST_F(Router, what_is_not_told_any_more_is_withdrawn_and_the_router_stays) {
  Guest now = guest_;
  now.dns = {ip("2001:db8:53::2"), ip("2001:db8:53::3")};
  now.domain = "example.org";
  now.addresses.pop_back();
  const auto frame = router_withdrawal(guest_, now);
  ASSERT_TRUE(frame);
  const ICMPv6 message = advertised_in(frame);
  EXPECT_EQ(message.type(), ICMPv6::ROUTER_ADVERT);
  EXPECT_EQ(message.router_lifetime(), 65535);
  EXPECT_EQ(message.recursive_dns_servers().lifetime, 0U);
  EXPECT_EQ(message.recursive_dns_servers().servers, std::vector{Tins::IPv6Address("2001:db8:53::1")});
  EXPECT_EQ(message.dns_search_list().lifetime, 0U);
  EXPECT_NE(hex(*frame).find("036e6574076578616d706c6503636f6d00"), std::string::npos);
  EXPECT_EQ(message.prefix_info().prefix, Tins::IPv6Address("2001:db8:2::"));
  EXPECT_EQ(message.prefix_info().valid_lifetime, 0U);
  EXPECT_EQ(message.prefix_info().preferred_lifetime, 0U);
}

TEST_F(Router, where_nothing_ends_nothing_is_withdrawn) {
  Guest now = guest_;
  now.dns.push_back(ip("2001:db8:53::3"));
  now.hostname = "www";
  EXPECT_EQ(router_withdrawal(guest_, now), std::nullopt);
  EXPECT_EQ(router_withdrawal(guest_, guest_), std::nullopt);
  Guest off = guest_;
  off.router_advertisements = false;
  EXPECT_EQ(router_withdrawal(off, guest_), std::nullopt) << "it was not told of a router";
}

TEST_F(Router, a_router_that_ends_says_so_and_leaves_the_networks_that_are_on_link_as_before) {
  Guest off = guest_;
  off.router_advertisements = false;
  const ICMPv6 message = advertised_in(router_withdrawal(guest_, off));
  EXPECT_EQ(message.router_lifetime(), 0);
  EXPECT_EQ(message.recursive_dns_servers().lifetime, 0U);
  EXPECT_EQ(message.recursive_dns_servers().servers.size(), 2U);
  EXPECT_EQ(message.dns_search_list().lifetime, 0U);
  EXPECT_EQ(message.search_option(ICMPv6::PREFIX_INFO), nullptr);
  Guest without = guest_;
  without.addresses.resize(1);
  const ICMPv6 last = advertised_in(router_withdrawal(guest_, without));
  EXPECT_EQ(last.router_lifetime(), 0);
  EXPECT_EQ(last.prefix_info().valid_lifetime, 0U);
}

TEST_F(Router, the_longest_advertisement_fits_the_smallest_mtu) {
  for (uint8_t i = 0; i < 100; ++i) {
    IpAddr address = ip("2001:db8:f::");
    address.bytes[7] = i;
    guest_.addresses.push_back({address, IpPrefix::make(address, 64), ip("fe80::1")});
    guest_.dns.push_back(address);
  }
  const std::string label(62, 'a');
  guest_.domain = label + '.' + label + '.' + label + '.' + label;
  const auto frame = router_advertisement(guest_);
  ASSERT_TRUE(frame);
  EXPECT_LE(frame->size(), 14 + 1280U);
  EXPECT_EQ(prefixes().size(), 16U);
  const ICMPv6 message = advertised_in(frame);
  EXPECT_EQ(message.recursive_dns_servers().servers.size(), 8U);
  EXPECT_NE(message.search_option(ICMPv6::DNS_SEARCH_LIST), nullptr);
}

TEST_F(Router, solicitations_that_rfc_4861_calls_invalid_are_dropped) {
  Frame frame = hex(kSolicitation);
  frame[21] = 64;
  EXPECT_EQ(refusal(frame), "malformed router solicitation: hop limit");
  frame = hex(kSolicitation);
  frame[56] ^= 1;
  EXPECT_EQ(refusal(frame), "malformed router solicitation: checksum");
  frame = hex(kSolicitation);
  frame[55] = 1;
  repair_checksum(frame);
  EXPECT_EQ(refusal(frame), "malformed router solicitation: code");
  frame = hex(kSolicitation);
  frame[63] = 0;  // an option of no length
  repair_checksum(frame);
  EXPECT_EQ(refusal(frame).rfind("malformed router solicitation: ", 0), 0U);
  frame[63] = 2;  // one beyond the end
  repair_checksum(frame);
  EXPECT_EQ(refusal(frame).rfind("malformed router solicitation: ", 0), 0U);
  frame = hex(kSolicitation);
  std::fill(frame.begin() + 22, frame.begin() + 38, 0);  // from nobody, who has a link-layer address
  repair_checksum(frame);
  EXPECT_EQ(refusal(frame), "malformed router solicitation: a link-layer address of nobody");
  frame = hex(kSolicitation);
  frame[19] = 7;
  EXPECT_EQ(refusal(frame), "malformed router solicitation: shorter than its headers");
}

TEST_F(Router, other_messages_of_icmpv6_are_no_question) {
  for (const auto type : {ICMPv6::ECHO_REQUEST, ICMPv6::ROUTER_ADVERT, ICMPv6::NEIGHBOUR_SOLICIT, ICMPv6::MLD2_REPORT})
    EXPECT_EQ(refusal(icmp6_frame(ICMPv6(type))), "not a router solicitation");
}

TEST_F(Router, a_frame_full_of_the_smallest_options_is_answered_as_one_without) {
  Frame frame = hex(kSolicitation);
  const Answer plain = answer_router_solicitation(frame, guest_);
  while (frame.size() + 8 <= 1514) frame.insert(frame.end(), {200, 1, 0, 0, 0, 0, 0, 0});
  frame[18] = static_cast<uint8_t>((frame.size() - 54) >> 8U);
  frame[19] = static_cast<uint8_t>(frame.size() - 54);
  repair_checksum(frame);
  EXPECT_EQ(answer_router_solicitation(frame, guest_), plain);
  ASSERT_TRUE(plain.frame);
}

TEST_F(Router, every_shortened_frame_and_every_changed_byte_ends_in_words) {
  const Frame whole = hex(kSolicitation);
  for (size_t size = 0; size < whole.size(); ++size) {
    Frame cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    cut.shrink_to_fit();
    EXPECT_FALSE(answer_router_solicitation(cut, guest_).what.empty());
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int change : {1, 0x80, 0xff}) {
      Frame changed = whole;
      changed[at] = static_cast<uint8_t>(changed[at] ^ change);
      if (at >= 22 && at != 56 && at != 57) repair_checksum(changed);
      EXPECT_FALSE(answer_router_solicitation(changed, guest_).what.empty());
    }
  }
}

}  // namespace
}  // namespace sepal::guest
