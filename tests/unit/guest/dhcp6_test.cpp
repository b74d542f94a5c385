// Whole conversations by RFC 8415: what each message of a client is answered with.
#include "guest/dhcp6.hpp"

#include <gtest/gtest.h>
#include <tins/ethernetII.h>
#include <tins/ipv6.h>
#include <tins/rawpdu.h>
#include <tins/udp.h>

#include "tests/unit/guest/frames6.hpp"

namespace sepal::guest {
namespace {

using Tins::DHCPv6;

// The frames of this test were made by scapy 2.5.0 alone:
//   cid, sid = DUID_LL(lladdr="02:00:00:00:00:0a"), DUID_LL(lladdr="02:ff:ff:ff:ff:01")
//   Ether(src="02:00:00:00:00:0a", dst="33:33:00:01:00:02")/IPv6(src="fe80::ff:fe00:a", dst="ff02::1:2", hlim=1)
//     /UDP(sport=546, dport=547)/DHCP6_Solicit(trid=0x123456)/DHCP6OptClientId(duid=cid)
//     /DHCP6OptOptReq(reqopts=[23, 24, 56, 59])/DHCP6OptElapsedTime()/DHCP6OptIA_NA(iaid=0xa0b0c0d0, T1=0, T2=0)
constexpr const char* kSolicit =
    "33330001000202000000000a86dd60000000003c1101fe80000000000000000000fffe00000aff020000000000000000000000010002"
    "02220223003c64d5011234560001000a0003000102000000000a00060008001700180038003b0008000200000003000ca0b0c0d000000000"
    "00000000";
//   Ether(src="02:ff:ff:ff:ff:01", dst="02:00:00:00:00:0a")/IPv6(src="fe80::1", dst="fe80::ff:fe00:a", hlim=64)
//     /UDP(sport=547, dport=546)/DHCP6_Advertise(trid=0x123456)/DHCP6OptServerId(duid=sid)
//     /DHCP6OptClientId(duid=cid)/DHCP6OptPref(prefval=255)/DHCP6OptIA_NA(iaid=0xa0b0c0d0, T1=43200, T2=75600,
//       ianaopts=[DHCP6OptIAAddress(addr=a, preflft=86400, validlft=86400) for a in ("2001:db8:1::a",
//       "2001:db8:2::a")])
//     /DHCP6OptDNSServers(dnsservers=["2001:db8:53::1", "2001:db8:53::2"])
//     /DHCP6OptDNSDomains(dnsdomains=["net.example.com."])
//     /DHCP6OptUnknown(optcode=56, data=b"\0\1\0\x10" + inet_pton(AF_INET6, "2001:db8:123::1"))
//     /DHCP6OptUnknown(optcode=59, data=b"http://boot.example.com/a.efi")
constexpr const char* kAdvertise =
    "02000000000a02ffffffff0186dd6000000000e71140fe800000000000000000000000000001fe80000000000000000000fffe00000a"
    "0223022200e76073021234560002000a0003000102ffffffff010001000a0003000102000000000a00070001ff00030044a0b0c0d00000a8"
    "c0000127500005001820010db800010000000000000000000a00015180000151800005001820010db800020000000000000000000a000151"
    "80000151800017002020010db800530000000000000000000120010db800530000000000000000000200180011036e6574076578616d706c"
    "6503636f6d00003800140001001020010db8012300000000000000000001003b001d687474703a2f2f626f6f742e6578616d706c652e636f"
    "6d2f612e656669";

// An IA of an answer, its options told apart.
struct Given {
  DHCPv6::ia_na_type association;
  DHCPv6 inside;
  [[nodiscard]] std::vector<DHCPv6::ia_address_type> addresses() const {
    std::vector<DHCPv6::ia_address_type> found;
    for (const auto& option : inside.options()) {
      if (option.option() == DHCPv6::IA_ADDR) found.push_back(option.to<DHCPv6::ia_address_type>());
    }
    return found;
  }
  [[nodiscard]] std::optional<uint16_t> status() const {
    if (inside.search_option(DHCPv6::STATUS_CODE) == nullptr) return std::nullopt;
    return inside.status_code().code;
  }
};

class Dhcp6 : public testing::Test {
 protected:
  // The answer as a client reads it; a failure when there is none.
  DHCPv6 ask(const DHCPv6& question, const Way& way = kToServers) {
    const Answer answer = answer_dhcp6(dhcp6_frame(question, way), guest_);
    said_ = answer.what;
    if (!answer.frame) {
      ADD_FAILURE() << "silence: " << answer.what;
      return {};
    }
    const Tins::EthernetII frame(answer.frame->data(), static_cast<uint32_t>(answer.frame->size()));
    const auto* ip = frame.find_pdu<Tins::IPv6>();
    const auto* udp = frame.find_pdu<Tins::UDP>();
    EXPECT_EQ(frame.src_addr(), Tins::HWAddress<6>(guest_.gateway_mac.bytes.data()));
    EXPECT_EQ(frame.dst_addr(), Tins::HWAddress<6>(kGuestMac.bytes.data()));
    EXPECT_EQ(ip->src_addr(), Tins::IPv6Address("fe80::1"));
    EXPECT_EQ(ip->dst_addr(), Tins::IPv6Address(way.source));
    EXPECT_EQ(udp->sport(), 547);
    EXPECT_EQ(udp->dport(), 546);
    const auto* raw = frame.find_pdu<Tins::RawPDU>();
    DHCPv6 reply(raw->payload().data(), raw->payload_size());
    EXPECT_EQ(reply.transaction_id(), question.transaction_id());
    return reply;
  }

  // What is said of a question that gets no answer.
  std::string silence(const DHCPv6& question, const Way& way = kToServers) {
    const Answer answer = answer_dhcp6(dhcp6_frame(question, way), guest_);
    EXPECT_FALSE(answer.frame);
    return answer.what;
  }

  static std::vector<Given> given(const DHCPv6& reply, DHCPv6::OptionTypes kind = DHCPv6::IA_NA) {
    std::vector<Given> found;
    for (const auto& option : reply.options()) {
      if (option.option() != kind) continue;
      Given& one = found.emplace_back();
      if (kind == DHCPv6::IA_TA) {
        const auto temporary = option.to<DHCPv6::ia_ta_type>();
        one.association = {temporary.id, 0, 0, temporary.options};
      } else {
        one.association = option.to<DHCPv6::ia_na_type>();
      }
      std::vector<uint8_t> bytes(4);
      bytes.insert(bytes.end(), one.association.options.begin(), one.association.options.end());
      one.inside = DHCPv6(bytes.data(), static_cast<uint32_t>(bytes.size()));
    }
    return found;
  }

  static void expect_the_guests_addresses(const Given& given, uint32_t lifetime = 86400) {
    const auto addresses = given.addresses();
    ASSERT_EQ(addresses.size(), 2U);
    EXPECT_EQ(addresses[0].address, Tins::IPv6Address("2001:db8:1::a"));
    EXPECT_EQ(addresses[1].address, Tins::IPv6Address("2001:db8:2::a"));
    for (const auto& address : addresses) {
      EXPECT_EQ(address.valid_lifetime, lifetime);
      EXPECT_EQ(address.preferred_lifetime, lifetime);
    }
    EXPECT_EQ(given.status(), std::nullopt);
  }

  Guest guest_ = two_networks();
  std::string said_;
};

TEST_F(Dhcp6, a_solicit_of_scapy_gets_the_advertise_of_scapy_byte_by_byte) {
  const Answer answer = answer_dhcp6(hex(kSolicit), guest_);
  ASSERT_TRUE(answer.frame) << answer.what;
  EXPECT_EQ(hex(*answer.frame), kAdvertise);
  EXPECT_EQ(answer.what, "DHCPv6 solicit: advertise");
}

TEST_F(Dhcp6, a_solicit_with_rapid_commit_is_replied_to_at_once) {
  DHCPv6 question = message(DHCPv6::SOLICIT);
  question.rapid_commit();
  associate(question, 7);
  const DHCPv6 reply = ask(question);
  EXPECT_EQ(reply.msg_type(), DHCPv6::REPLY);
  EXPECT_TRUE(reply.has_rapid_commit());
  EXPECT_EQ(reply.search_option(DHCPv6::PREFERENCE), nullptr);
  expect_the_guests_addresses(given(reply).at(0));
}

TEST_F(Dhcp6, a_request_a_renewal_and_a_rebinding_are_replied_to_with_addresses_and_times) {
  DHCPv6 rebind = message(DHCPv6::REBIND);
  for (DHCPv6 question : {message_to_us(DHCPv6::REQUEST), message_to_us(DHCPv6::RENEW), rebind}) {
    associate(question, 0xa0b0c0d0, {"2001:db8:1::a", "2001:db8:2::a"});
    const DHCPv6 reply = ask(question);
    EXPECT_EQ(reply.msg_type(), DHCPv6::REPLY);
    EXPECT_FALSE(reply.has_rapid_commit());
    ASSERT_EQ(given(reply).size(), 1U);
    const Given one = given(reply)[0];
    EXPECT_EQ(one.association.id, 0xa0b0c0d0);
    EXPECT_EQ(one.association.t1, 43200U);
    EXPECT_EQ(one.association.t2, 75600U);
    expect_the_guests_addresses(one);
    EXPECT_NE(reply.search_option(DHCPv6::DNS_SERVERS), nullptr);
  }
  EXPECT_EQ(said_, "DHCPv6 rebind of 2001:db8:1::a: reply");
}

TEST_F(Dhcp6, a_lease_for_ever_is_never_renewed) {
  guest_.lease_seconds = 0xffffffff;
  DHCPv6 question = message_to_us(DHCPv6::REQUEST);
  associate(question, 7);
  const Given one = given(ask(question)).at(0);
  EXPECT_EQ(one.association.t1, 0xffffffff);
  EXPECT_EQ(one.association.t2, 0xffffffff);
  expect_the_guests_addresses(one, 0xffffffff);
}

TEST_F(Dhcp6, the_longest_lease_that_ends_is_halved_without_overflow) {
  guest_.lease_seconds = 0xfffffffe;
  DHCPv6 question = message_to_us(DHCPv6::REQUEST);
  associate(question, 7);
  const Given one = given(ask(question)).at(0);
  EXPECT_EQ(one.association.t1, 0x7fffffffU);
  EXPECT_EQ(one.association.t2, 0xdffffffeU);
}

TEST_F(Dhcp6, the_first_association_gets_the_addresses_and_the_second_is_told_there_are_no_more) {
  DHCPv6 question = message(DHCPv6::SOLICIT);
  associate(question, 1);
  associate(question, 2);
  const DHCPv6 reply = ask(question);
  ASSERT_EQ(given(reply).size(), 2U);
  expect_the_guests_addresses(given(reply)[0]);
  EXPECT_EQ(given(reply)[1].association.id, 2U);
  EXPECT_EQ(given(reply)[1].association.t1, 0U);
  EXPECT_EQ(given(reply)[1].status(), 2);
  EXPECT_TRUE(given(reply)[1].addresses().empty());
  EXPECT_EQ(said_, "DHCPv6 solicit: advertise, NoAddrsAvail");
}

TEST_F(Dhcp6, temporary_addresses_and_prefixes_are_not_to_be_had_and_cost_the_others_nothing) {
  DHCPv6 question = message(DHCPv6::SOLICIT);
  associate(question, 1, {}, DHCPv6::IA_PD);
  associate(question, 2, {}, DHCPv6::IA_TA);
  associate(question, 3, {}, DHCPv6::IA_NA);
  const DHCPv6 reply = ask(question);
  EXPECT_EQ(given(reply, DHCPv6::IA_PD).at(0).association.id, 1U);
  EXPECT_EQ(given(reply, DHCPv6::IA_PD).at(0).status(), 6);
  EXPECT_EQ(given(reply, DHCPv6::IA_TA).at(0).association.id, 2U);
  EXPECT_EQ(given(reply, DHCPv6::IA_TA).at(0).status(), 2);
  expect_the_guests_addresses(given(reply).at(0));
}

TEST_F(Dhcp6, a_port_without_ipv6_addresses_has_none_to_give) {
  guest_.addresses.resize(1);
  DHCPv6 question = message(DHCPv6::SOLICIT);
  associate(question, 1);
  EXPECT_EQ(given(ask(question)).at(0).status(), 2);
}

TEST_F(Dhcp6, an_address_that_is_no_longer_the_ports_is_taken_back_beside_those_that_are) {
  DHCPv6 question = message_to_us(DHCPv6::RENEW);
  associate(question, 1, {"2001:db8:1::a", "2001:db8:1::b"});
  const auto addresses = given(ask(question)).at(0).addresses();
  ASSERT_EQ(addresses.size(), 3U);
  EXPECT_EQ(addresses[2].address, Tins::IPv6Address("2001:db8:1::b"));
  EXPECT_EQ(addresses[2].valid_lifetime, 0U);
  EXPECT_EQ(addresses[2].preferred_lifetime, 0U);
}

TEST_F(Dhcp6, a_port_that_lost_its_addresses_takes_them_back) {
  guest_.addresses.clear();
  DHCPv6 question = message(DHCPv6::REBIND);
  associate(question, 1, {"2001:db8:1::a"});
  const Given one = given(ask(question)).at(0);
  ASSERT_EQ(one.addresses().size(), 1U);
  EXPECT_EQ(one.addresses()[0].valid_lifetime, 0U);
  EXPECT_EQ(one.association.t1, 0U);
}

TEST_F(Dhcp6, a_request_for_an_address_of_another_network_is_not_on_link) {
  DHCPv6 question = message_to_us(DHCPv6::REQUEST);
  associate(question, 1, {"2001:db8:9::a"});
  const Given one = given(ask(question)).at(0);
  EXPECT_EQ(one.status(), 4);
  EXPECT_TRUE(one.addresses().empty());
}

TEST_F(Dhcp6, a_request_for_a_neighbours_address_gets_the_ports_own) {
  DHCPv6 question = message_to_us(DHCPv6::REQUEST);
  associate(question, 1, {"2001:db8:1::b"});
  expect_the_guests_addresses(given(ask(question)).at(0));
}

TEST_F(Dhcp6, confirming_the_ports_addresses_succeeds) {
  DHCPv6 question = message(DHCPv6::CONFIRM);
  associate(question, 1, {"2001:db8:1::a"});
  const DHCPv6 reply = ask(question);
  EXPECT_EQ(reply.status_code().code, 0);
  EXPECT_TRUE(given(reply).empty());
  EXPECT_EQ(said_, "DHCPv6 confirm of 2001:db8:1::a: reply, Success");
}

TEST_F(Dhcp6, confirming_one_of_somebody_else_is_not_on_link) {
  DHCPv6 question = message(DHCPv6::CONFIRM);
  associate(question, 1, {"2001:db8:1::a"});
  associate(question, 2, {"2001:db8:1::b"}, DHCPv6::IA_TA);
  EXPECT_EQ(ask(question).status_code().code, 4);
}

TEST_F(Dhcp6, confirming_nothing_is_met_by_silence) {
  DHCPv6 question = message(DHCPv6::CONFIRM);
  associate(question, 1);
  EXPECT_EQ(silence(question), "DHCPv6 confirm: without addresses");
}

TEST_F(Dhcp6, a_release_and_a_decline_succeed_and_change_nothing) {
  for (const auto type : {DHCPv6::RELEASE, DHCPv6::DECLINE}) {
    DHCPv6 question = message_to_us(type);
    associate(question, 1, {"2001:db8:1::a"});
    const DHCPv6 reply = ask(question);
    EXPECT_EQ(reply.msg_type(), DHCPv6::REPLY);
    EXPECT_EQ(reply.status_code().code, 0);
    EXPECT_TRUE(given(reply).empty());
  }
  EXPECT_EQ(said_, "DHCPv6 decline of 2001:db8:1::a: reply, Success");
}

TEST_F(Dhcp6, an_information_request_gets_what_is_known_and_may_be_nameless) {
  DHCPv6 question = message(DHCPv6::INFO_REQUEST);
  EXPECT_EQ(ask(question).client_id().data, question.client_id().data);
  question.remove_option(DHCPv6::CLIENTID);
  const DHCPv6 reply = ask(question);
  EXPECT_EQ(reply.search_option(DHCPv6::CLIENTID), nullptr);
  EXPECT_EQ(reply.server_id().data.size(), 8U);
  EXPECT_NE(reply.search_option(DHCPv6::DNS_SERVERS), nullptr);
  EXPECT_TRUE(given(reply).empty());
}

TEST_F(Dhcp6, only_what_was_requested_is_told) {
  DHCPv6 question = message(DHCPv6::INFO_REQUEST);
  question.remove_option(DHCPv6::OPTION_REQUEST);
  question.option_request({24});
  const DHCPv6 reply = ask(question);
  EXPECT_EQ(reply.options().size(), 3U);  // both identifiers, and
  EXPECT_NE(reply.search_option(DHCPv6::DOMAIN_LIST), nullptr);
}

TEST_F(Dhcp6, nothing_is_told_of_what_the_port_does_not_have) {
  guest_.domain.clear();
  guest_.boot.url.clear();
  guest_.dns = {ip("10.0.0.53")};
  guest_.ntp.clear();
  EXPECT_EQ(ask(message(DHCPv6::INFO_REQUEST)).options().size(), 2U);
}

TEST_F(Dhcp6, a_domain_that_is_no_name_is_not_told) {
  for (const std::string& domain : {std::string("a..b"), std::string(64, 'a'), std::string(".")}) {
    guest_.domain = domain;
    EXPECT_EQ(ask(message(DHCPv6::INFO_REQUEST)).search_option(DHCPv6::DOMAIN_LIST), nullptr) << domain;
  }
}

TEST_F(Dhcp6, messages_that_lack_what_they_need_or_carry_what_they_must_not_are_dropped) {
  for (const auto type : {DHCPv6::SOLICIT, DHCPv6::CONFIRM, DHCPv6::REBIND}) {
    EXPECT_NE(silence(message_to_us(type)).find(": with a server identifier"), std::string::npos);
  }
  for (const auto type : {DHCPv6::REQUEST, DHCPv6::RENEW, DHCPv6::RELEASE, DHCPv6::DECLINE}) {
    EXPECT_NE(silence(message(type)).find(": without a server identifier"), std::string::npos);
  }
  for (const auto type : {DHCPv6::SOLICIT, DHCPv6::CONFIRM, DHCPv6::REBIND, DHCPv6::REQUEST, DHCPv6::RENEW,
                          DHCPv6::RELEASE, DHCPv6::DECLINE}) {
    DHCPv6 nameless = message(type);
    nameless.remove_option(DHCPv6::CLIENTID);
    EXPECT_NE(silence(nameless).find(": without a client identifier"), std::string::npos);
  }
  DHCPv6 information = message(DHCPv6::INFO_REQUEST);
  associate(information, 1);
  EXPECT_EQ(silence(information), "DHCPv6 information-request: with identity associations");
}

TEST_F(Dhcp6, a_message_for_another_server_is_not_ours) {
  for (const auto type : {DHCPv6::REQUEST, DHCPv6::RENEW, DHCPv6::RELEASE, DHCPv6::DECLINE, DHCPv6::INFO_REQUEST}) {
    DHCPv6 question = message(type);
    question.server_id(DHCPv6::duid_type(DHCPv6::duid_ll(1, {2, 0xff, 0xff, 0xff, 0xff, 2})));
    EXPECT_NE(silence(question).find(": for another server"), std::string::npos);
  }
}

TEST_F(Dhcp6, what_servers_and_relays_say_is_no_question) {
  for (const auto type : {DHCPv6::ADVERTISE, DHCPv6::REPLY, DHCPv6::RECONFIGURE})
    EXPECT_EQ(silence(message(type)), "DHCPv6 of a server");
  for (const auto type : {DHCPv6::RELAY_FORWARD, DHCPv6::RELAY_REPLY})
    EXPECT_EQ(silence(message(type)), "malformed DHCPv6: relayed");
  EXPECT_EQ(silence(message(static_cast<DHCPv6::MessageType>(14))), "malformed DHCPv6: message type 14");
}

TEST_F(Dhcp6, ipxe_gets_its_own_url_and_does_not_load_itself_again) {
  guest_.boot.ipxe = "http://boot.example.com/boot.ipxe";
  const auto url_for = [&](const DHCPv6& question) {
    const DHCPv6 reply = ask(question);
    const auto* option = reply.search_option(static_cast<DHCPv6::OptionTypes>(59));
    return option == nullptr ? std::string()
                             : std::string(option->data_ptr(), option->data_ptr() + option->data_size());
  };
  EXPECT_EQ(url_for(message(DHCPv6::SOLICIT)), "http://boot.example.com/a.efi");
  DHCPv6 question = message(DHCPv6::SOLICIT);
  const std::vector<uint8_t> user_class = {0, 4, 'i', 'P', 'X', 'E'};
  question.add_option(DHCPv6::option(DHCPv6::USER_CLASS, user_class.begin(), user_class.end()));
  EXPECT_EQ(url_for(question), "http://boot.example.com/boot.ipxe");
  guest_.boot.ipxe.clear();
  EXPECT_EQ(url_for(question), "http://boot.example.com/a.efi");
}

TEST_F(Dhcp6, uefi_that_boots_by_http_knows_its_offer_by_its_vendor_class) {
  const auto with_class = [](const std::string& name) {
    DHCPv6 question = message(DHCPv6::SOLICIT);
    std::vector<uint8_t> bytes = {0, 0, 0x01, 0x57, 0, static_cast<uint8_t>(name.size())};
    bytes.insert(bytes.end(), name.begin(), name.end());
    question.add_option(DHCPv6::option(DHCPv6::VENDOR_CLASS, bytes.begin(), bytes.end()));
    return question;
  };
  const DHCPv6 question = with_class("HTTPClient:Arch:00016:UNDI:003001");
  const DHCPv6 reply = ask(question);
  const auto* asked = question.search_option(DHCPv6::VENDOR_CLASS);
  const auto* told = reply.search_option(DHCPv6::VENDOR_CLASS);
  ASSERT_NE(told, nullptr);
  EXPECT_EQ(std::vector<uint8_t>(told->data_ptr(), told->data_ptr() + told->data_size()),
            std::vector<uint8_t>(asked->data_ptr(), asked->data_ptr() + asked->data_size()));
  EXPECT_EQ(ask(with_class("PXEClient:Arch:00007")).search_option(DHCPv6::VENDOR_CLASS), nullptr);
  guest_.boot.url.clear();
  EXPECT_EQ(ask(question).search_option(DHCPv6::VENDOR_CLASS), nullptr) << "there is nothing to boot from";
}

TEST_F(Dhcp6, only_the_guest_itself_is_answered_and_only_on_its_link) {
  DHCPv6 question = message(DHCPv6::SOLICIT);
  Way way = kToServers;
  way.source_mac.bytes[5] = 0x0b;
  EXPECT_EQ(silence(question, way), "DHCPv6 from another MAC");
  way = kToServers;
  way.source = "2001:db8:1::a";
  EXPECT_EQ(silence(question, way), "DHCPv6 from an address that is not link-local");
  way = kToServers;
  for (const char* destination : {"ff05::1:3", "fe80::1"}) {  // to one server alone: rules let nothing of it through
    way.destination = destination;
    EXPECT_EQ(silence(question, way), "DHCPv6 to another server");
  }
  way = kToServers;
  way.port = 546;
  EXPECT_EQ(silence(question, way), "not DHCPv6: another port");
  guest_.dhcp = false;
  EXPECT_EQ(silence(question), "DHCPv6: off");
}

TEST_F(Dhcp6, the_servers_identifier_is_the_gateways_mac_on_every_hypervisor) {
  guest_.gateway_mac = {{2, 1, 2, 3, 4, 5}};
  const auto id = ask(message(DHCPv6::SOLICIT)).server_id();
  EXPECT_EQ(id.id, 3);
  EXPECT_EQ(id.data, (std::vector<uint8_t>{0, 1, 2, 1, 2, 3, 4, 5}));
}

}  // namespace
}  // namespace sepal::guest
