// Questions for neighbours through the real program: packet in, map state, verdict and packet out.
#include <net/if.h>

#include <cstdlib>
#include <random>

#include "tests/bpf/neighbour_bed.hpp"

namespace sepal::test {
namespace {

using bpf::Neighbour;

// --- ARP ---------------------------------------------------------------------------------------------------------

// Both frames were made by scapy 2.5: Ether()/ARP(op=1, …) and Ether()/ARP(op=2, …).
TEST_F(NeighbourProgram, an_arp_request_becomes_byte_for_byte_the_reply_that_scapy_builds) {
  const Outcome outcome =
      ask(from_hex("ffffffffffff02000000000a0806000108000604000102000000000a0a0000010000000000000a000002"));
  EXPECT_EQ(outcome.verdict, kPipe);
  EXPECT_EQ(to_hex(outcome.frame),
            "02000000000a02000000000b0806000108000604000202000000000b0a00000202000000000a0a000001");
}

TEST_F(NeighbourProgram, the_gateway_answers_arp_with_its_own_mac) {
  Arp question;
  question.target_ip = ip("10.0.0.254");
  const Outcome outcome = ask(question.bytes());
  ASSERT_EQ(outcome.verdict, kPipe);
  const Answer answer = check_arp_reply(outcome.frame);
  EXPECT_EQ(answer.wrong, "");
  EXPECT_EQ(answer.mac, kGateway);
  EXPECT_EQ(answer.asked, ip("10.0.0.254"));
  EXPECT_EQ(answer.to, kAsker);
  EXPECT_EQ(answer.asker, ip("10.0.0.1"));
}

TEST_F(NeighbourProgram, an_arp_probe_from_an_asker_without_address_finds_the_neighbour_that_has_it) {
  Arp probe;
  probe.sender_ip = ip("0.0.0.0");
  const Outcome outcome = ask(probe.bytes());
  ASSERT_EQ(outcome.verdict, kPipe);
  const Answer answer = check_arp_reply(outcome.frame);
  EXPECT_EQ(answer.wrong, "");
  EXPECT_EQ(answer.mac, kNeighbour);
  EXPECT_EQ(answer.asker, ip("0.0.0.0"));
}

TEST_F(NeighbourProgram, a_probe_for_the_askers_own_address_finds_nobody) {
  Arp probe;
  probe.sender_ip = ip("0.0.0.0");
  probe.target_ip = ip("10.0.0.1");
  expect_untouched(probe.bytes(), "duplicate detection would take its own address for taken");
  expect_untouched(duplicate_detection_for("fd00:100::1").bytes(), "the same in IPv6");
}

TEST_F(NeighbourProgram, an_address_nobody_told_us_about_is_not_answered) {
  Arp question;
  question.target_ip = ip("10.0.1.2");
  expect_untouched(question.bytes(), "outside the map");
  expect_untouched(solicitation_for("fd00:200::2").bytes(), "outside the map");
}

TEST_F(NeighbourProgram, padding_of_a_question_is_not_sent_back) {
  for (const size_t padding : {1U, 18U, 1458U}) {
    const Outcome outcome = ask(Arp().bytes() + Bytes(padding, 0x5a));
    ASSERT_EQ(outcome.verdict, kPipe) << padding;
    EXPECT_EQ(check_arp_reply(outcome.frame).wrong, "") << padding;
    const Outcome outcome6 = ask(Nd().bytes() + Bytes(padding, 0x5a));
    ASSERT_EQ(outcome6.verdict, kPipe) << padding;
    EXPECT_EQ(check_advertisement(outcome6.frame).wrong, "") << padding;
  }
}

TEST_F(NeighbourProgram, the_longest_prefix_decides_who_answers) {
  const MacAddr single = mac("02:00:00:00:00:0c");
  know({entry("0.0.0.0/0", SEPAL_ANSWER_GATEWAY, kGateway), entry("10.0.0.0/24", SEPAL_ANSWER_NEIGHBOUR, kNeighbour),
        entry("10.0.0.2", SEPAL_ANSWER_NEIGHBOUR, single)});
  const auto who = [this](const char* target) {
    Arp question;
    question.target_ip = ip(target);
    const Outcome outcome = ask(question.bytes());
    return outcome.verdict == kPipe ? check_arp_reply(outcome.frame).mac : MacAddr{};
  };
  EXPECT_EQ(who("10.0.0.2"), single);
  EXPECT_EQ(who("10.0.0.3"), kNeighbour);
  EXPECT_EQ(who("10.0.1.3"), kGateway);
}

TEST_F(NeighbourProgram, an_ipv4_default_entry_does_not_answer_for_ipv6) {
  know({entry("0.0.0.0/0", SEPAL_ANSWER_GATEWAY, kGateway)});
  expect_untouched(Nd().bytes(), "IPv4 entries live in ::ffff:0:0/96 only");
}

TEST_F(NeighbourProgram, the_same_address_on_two_devices_is_two_entries) {
  ASSERT_EQ(std::system("ip link add name left type veth peer name right && ip link set left up"), 0);
  const uint32_t left = ::if_nametoindex("left");
  know({entry("10.0.0.2", SEPAL_ANSWER_NEIGHBOUR, kNeighbour, 0, left)});
  expect_untouched(Arp().bytes(), "it arrived on the loopback device");
  const Outcome outcome = ask(Arp().bytes(), left);
  EXPECT_EQ(outcome.verdict, kPipe);
  EXPECT_EQ(check_arp_reply(outcome.frame).mac, kNeighbour);
  EXPECT_EQ(std::system("ip link del left"), 0);
}

TEST_F(NeighbourProgram, a_tagged_question_is_answered_for_its_vlan_only_and_keeps_its_tag) {
  know({entry("10.0.0.0/24", SEPAL_ANSWER_NEIGHBOUR, kNeighbour),
        entry("10.0.0.0/24", SEPAL_ANSWER_NEIGHBOUR, kGateway, 0x123),
        entry("fd00:100::/64", SEPAL_ANSWER_NEIGHBOUR, kGateway, 0x123)});
  for (const Bytes& question : {Arp().bytes(), Nd().bytes()}) {
    const Outcome outcome = ask_tagged(question, 0x5123);  // priority 2, DEI 1
    ASSERT_EQ(outcome.verdict, kPipe);
    const Answer answer = question.size() == 42 ? check_arp_reply(outcome.frame) : check_advertisement(outcome.frame);
    EXPECT_EQ(answer.wrong, "");
    EXPECT_EQ(answer.mac, kGateway);
    EXPECT_EQ(outcome.cb[2], 1U) << "the tag is gone";
    EXPECT_EQ(outcome.cb[3], 0x8100U);
    EXPECT_EQ(outcome.cb[4], 0x5123U) << "VLAN and priority stay";
    EXPECT_EQ(ask_tagged(question, 0x124).verdict, kUnspec) << "another VLAN";
  }
}

TEST_F(NeighbourProgram, a_priority_tag_is_no_vlan) {
  const Outcome outcome = ask_tagged(Arp().bytes(), 0x6000);
  ASSERT_EQ(outcome.verdict, kPipe);
  EXPECT_EQ(check_arp_reply(outcome.frame).mac, kNeighbour);
}

TEST_F(NeighbourProgram, a_service_tag_is_not_the_vlan_of_the_same_number) {
  know({entry("10.0.0.0/24", SEPAL_ANSWER_NEIGHBOUR, kNeighbour, 30)});
  EXPECT_EQ(ask_tagged(Arp().bytes(), 30).verdict, kPipe);
  EXPECT_EQ(ask_tagged(Arp().bytes(), 30, 0x88a8).verdict, kUnspec);
}

TEST_F(NeighbourProgram, a_second_tag_inside_the_frame_hides_the_question) {
  Bytes frame = Arp().bytes();
  const Bytes tag = from_hex("8100001e");
  frame.insert(frame.begin() + 12, tag.begin(), tag.end());
  know({entry("10.0.0.0/24", SEPAL_ANSWER_NEIGHBOUR, kNeighbour, 30)});
  EXPECT_EQ(ask_tagged(frame, 30).verdict, kUnspec);
  expect_untouched(frame, "a tag in the bytes");
}

TEST_F(NeighbourProgram, an_announcement_is_no_question) {
  Arp gratuitous;
  gratuitous.sender_ip = gratuitous.target_ip;
  expect_untouched(gratuitous.bytes(), "gratuitous request");
  Arp reply;
  reply.operation = 2;
  expect_untouched(reply.bytes(), "gratuitous reply");
  Nd own;
  own.source = own.target;
  expect_untouched(own.bytes(), "a solicitation for its own source");
  Nd advertisement;
  advertisement.type = 136;
  expect_untouched(advertisement.bytes(), "an advertisement");
}

TEST_F(NeighbourProgram, a_malformed_arp_request_is_left_alone) {
  const std::vector<std::pair<const char*, std::function<void(Arp&)>>> faults{
      {"hardware type", [](Arp& a) { a.hardware = 6; }},
      {"hardware type, bytes swapped", [](Arp& a) { a.hardware = 0x0100; }},
      {"protocol type", [](Arp& a) { a.protocol = 0x86dd; }},
      {"hardware length 0", [](Arp& a) { a.hardware_length = 0; }},
      {"hardware length 8", [](Arp& a) { a.hardware_length = 8; }},
      {"protocol length", [](Arp& a) { a.protocol_length = 16; }},
      {"operation 0", [](Arp& a) { a.operation = 0; }},
      {"RARP", [](Arp& a) { a.operation = 3; }},
      {"InARP", [](Arp& a) { a.operation = 8; }},
      {"operation, bytes swapped", [](Arp& a) { a.operation = 0x0100; }},
      {"sender is broadcast", [](Arp& a) { a.sender_mac = kBroadcast; }},
      {"sender is a group", [](Arp& a) { a.sender_mac = mac("01:00:5e:00:00:01"); }},
      {"sender is nobody", [](Arp& a) { a.sender_mac = MacAddr{}; }},
      {"frame from a group", [](Arp& a) { a.from = mac("03:00:00:00:00:0a"); }},
      {"frame from nobody", [](Arp& a) { a.from = MacAddr{}; }},
      {"sender IP is multicast", [](Arp& a) { a.sender_ip = ip("224.0.0.1"); }},
      {"sender IP is broadcast", [](Arp& a) { a.sender_ip = ip("255.255.255.255"); }},
  };
  for (const auto& [why, spoil] : faults) {
    Arp question;
    spoil(question);
    expect_untouched(question.bytes(), why);
  }
  EXPECT_EQ(ask(Arp().bytes()).verdict, kPipe) << "unspoilt, the same question is answered";
}

TEST_F(NeighbourProgram, a_question_cut_short_anywhere_is_left_alone) {
  const Bytes arp = Arp().bytes();
  for (size_t size = 14; size < arp.size(); ++size) {
    expect_untouched({arp.begin(), arp.begin() + static_cast<ptrdiff_t>(size)}, "ARP");
  }
  const Bytes nd = Nd().bytes();
  for (size_t size = 14; size < nd.size(); ++size) {
    expect_untouched({nd.begin(), nd.begin() + static_cast<ptrdiff_t>(size)}, "solicitation");
  }
}

TEST_F(NeighbourProgram, a_question_to_one_station_is_that_stations_to_answer) {
  Arp question;
  question.to = kNeighbour;
  EXPECT_EQ(ask(question.bytes()).verdict, kPipe) << "the asker checks that its neighbour is still there";
  question.to = mac("02:00:00:00:00:77");
  expect_untouched(question.bytes(), "somebody else's");
  Nd question6;
  question6.destination = question6.target;
  question6.to = kNeighbour;
  const Outcome outcome = ask(question6.bytes());
  ASSERT_EQ(outcome.verdict, kPipe);
  EXPECT_TRUE(check_advertisement(outcome.frame).solicited);
  question6.to = mac("02:00:00:00:00:77");
  expect_untouched(question6.bytes(), "somebody else's");
}

TEST_F(NeighbourProgram, what_is_neither_arp_nor_ipv6_is_left_alone) {
  expect_untouched(ethernet(0x0800, Ip4{}.bytes()), "IPv4");
  expect_untouched(ethernet(0x88cc, Bytes(60, 1)), "LLDP");
  expect_untouched(ethernet(0x0806, {}), "an empty frame that calls itself ARP");
}

TEST_F(NeighbourProgram, an_answer_of_unknown_kind_in_the_map_answers_nothing) {
  Neighbour unknown = entry("10.0.0.0/24", SEPAL_ANSWER_NEIGHBOUR, kNeighbour);
  unknown.value.answer = 9;
  know({unknown});
  expect_untouched(Arp().bytes(), "a newer agent's map under an older program");
}

// --- IPv6 --------------------------------------------------------------------------------------------------------

// Both frames were made by scapy 2.5: Ether()/IPv6(hlim=255)/ICMPv6ND_NS()/ICMPv6NDOptSrcLLAddr() and
// …/ICMPv6ND_NA(R=0, S=1, O=0)/ICMPv6NDOptDstLLAddr().
TEST_F(NeighbourProgram, a_solicitation_becomes_byte_for_byte_the_advertisement_that_scapy_builds) {
  const Outcome outcome = ask(from_hex(
      "3333ff00000202000000000a86dd6000000000203afffd000100000000000000000000000001ff0200000000000000000001ff00"
      "000287007b8e00000000fd000100000000000000000000000002010102000000000a"));
  EXPECT_EQ(outcome.verdict, kPipe);
  EXPECT_EQ(
      to_hex(outcome.frame),
      "02000000000a02000000000b86dd6000000000203afffd000100000000000000000000000002fd000100000000000000000000000001"
      "8800399140000000fd000100000000000000000000000002020102000000000b");
}

TEST_F(NeighbourProgram, the_gateway_calls_itself_a_router_and_overrides_what_the_asker_believed) {
  const Outcome outcome = ask(solicitation_for("fd00:100::fe").bytes());
  ASSERT_EQ(outcome.verdict, kPipe);
  const Answer answer = check_advertisement(outcome.frame);
  EXPECT_EQ(answer.wrong, "");
  EXPECT_EQ(answer.mac, kGateway);
  EXPECT_EQ(answer.asked, ip("fd00:100::fe"));
  EXPECT_TRUE(answer.router);
  EXPECT_TRUE(answer.overrides);
  EXPECT_TRUE(answer.solicited);
}

TEST_F(NeighbourProgram, a_proxied_neighbour_neither_overrides_nor_routes) {
  const Answer answer = check_advertisement(ask(Nd().bytes()).frame);
  EXPECT_EQ(answer.wrong, "");
  EXPECT_FALSE(answer.router);
  EXPECT_FALSE(answer.overrides);
}

TEST_F(NeighbourProgram, the_answer_goes_to_the_link_layer_address_the_asker_names) {
  Nd question;
  question.from = mac("02:00:00:00:00:99");
  Answer answer = check_advertisement(ask(question.bytes()).frame);
  EXPECT_EQ(answer.wrong, "");
  EXPECT_EQ(answer.to, kAsker);
  question.options.clear();
  answer = check_advertisement(ask(question.bytes()).frame);
  EXPECT_EQ(answer.wrong, "");
  EXPECT_EQ(answer.to, mac("02:00:00:00:00:99")) << "it names none, so to where the frame came from";
}

TEST_F(NeighbourProgram, duplicate_detection_is_answered_to_all_nodes_and_not_as_solicited) {
  for (const char* target : {"fd00:100::2", "fd00:100::fe"}) {
    const Outcome outcome = ask(duplicate_detection_for(target).bytes());
    ASSERT_EQ(outcome.verdict, kPipe);
    const Answer answer = check_advertisement(outcome.frame);
    EXPECT_EQ(answer.wrong, "");
    EXPECT_EQ(answer.asker, ip("ff02::1"));
    EXPECT_EQ(answer.to, mac("33:33:00:00:00:01"));
    EXPECT_FALSE(answer.solicited);
    EXPECT_EQ(answer.asked, ip(target));
  }
}

TEST_F(NeighbourProgram, duplicate_detection_that_breaks_its_rules_is_left_alone) {
  Nd named = duplicate_detection_for("fd00:100::2");
  named.options = from_hex("010102000000000a");
  expect_untouched(named.bytes(), "an asker without address must not name its link-layer address");
  Nd direct = duplicate_detection_for("fd00:100::2");
  direct.destination = ip("fd00:100::2");
  expect_untouched(direct.bytes(), "not to a solicited-node address");
  direct.destination = ip("ff02::1:ff00:3");
  expect_untouched(direct.bytes(), "to another target's solicited-node address");
  direct.destination = ip("ff02::1");
  expect_untouched(direct.bytes(), "to all nodes");
}

TEST_F(NeighbourProgram, options_that_mean_nothing_here_are_stepped_over) {
  const Bytes nonce = from_hex("0e01a1a2a3a4a5a6");
  const Bytes link = from_hex("010102000000000a");
  Nd question;
  question.from = mac("02:00:00:00:00:99");
  question.options = nonce + link;
  EXPECT_EQ(check_advertisement(ask(question.bytes()).frame).to, kAsker);
  // An option of three units whose inside looks like a link-layer address option.
  question.options = from_hex("2503") + Bytes(6, 0) + from_hex("010102000000000b") + Bytes(8, 0) + link;
  EXPECT_EQ(check_advertisement(ask(question.bytes()).frame).to, kAsker);
  question.options = {};
  for (int i = 0; i < 15; ++i) question.options = question.options + nonce;
  question.options = question.options + link;
  const Outcome sixteen = ask(question.bytes());
  ASSERT_EQ(sixteen.verdict, kPipe);
  EXPECT_EQ(check_advertisement(sixteen.frame).wrong, "");
  EXPECT_EQ(check_advertisement(sixteen.frame).to, kAsker);
  Nd probe = duplicate_detection_for("fd00:100::2");
  probe.options = nonce;
  EXPECT_EQ(check_advertisement(ask(probe.bytes()).frame).wrong, "") << "enhanced duplicate detection, RFC 7527";
}

TEST_F(NeighbourProgram, a_malformed_solicitation_is_left_alone) {
  const std::vector<std::pair<const char*, std::function<void(Nd&)>>> faults{
      {"hop limit 254: a router passed it on", [](Nd& n) { n.hop_limit = 254; }},
      {"hop limit 0", [](Nd& n) { n.hop_limit = 0; }},
      {"version", [](Nd& n) { n.version = 4; }},
      {"an extension header first", [](Nd& n) { n.next_header = 0; }},
      {"not ICMPv6", [](Nd& n) { n.next_header = 17; }},
      {"code", [](Nd& n) { n.code = 1; }},
      {"router solicitation", [](Nd& n) { n.type = 133; }},
      {"echo request", [](Nd& n) { n.type = 128; }},
      {"checksum zero", [](Nd& n) { n.checksum = 0; }},
      {"checksum off by one", [](Nd& n) { n.checksum = 0x7b8f; }},
      {"target is a group", [](Nd& n) { n.target = ip("ff02::2"); }},
      {"target is nobody", [](Nd& n) { n.target = ip("::"); }},
      {"source is a group", [](Nd& n) { n.source = ip("ff02::1"); }},
      {"frame from a group", [](Nd& n) { n.from = mac("33:33:00:00:00:01"); }},
      {"option of length 0", [](Nd& n) { n.options = from_hex("010002000000000a"); }},
      {"option behind the end", [](Nd& n) { n.options = from_hex("0e02a1a2a3a4a5a6"); }},
      {"last of two options behind the end", [](Nd& n) { n.options = n.options + from_hex("0effa1a2a3a4a5a6"); }},
      {"link-layer address of two units", [](Nd& n) { n.options = from_hex("010202000000000a") + Bytes(8, 0); }},
      {"link-layer address is a group", [](Nd& n) { n.options = from_hex("0101030000000001"); }},
      {"link-layer address is nobody", [](Nd& n) { n.options = from_hex("0101000000000000"); }},
      {"half an option", [](Nd& n) { n.options = from_hex("01010200"); }},
      {"seventeen units of options",
       [](Nd& n) {
         n.options.clear();
         for (int i = 0; i < 17; ++i) n.options = n.options + from_hex("0e01a1a2a3a4a5a6");
       }},
      {"payload length 0: a jumbogram", [](Nd& n) { n.payload_length = 0; }},
      {"payload length beyond the frame", [](Nd& n) { n.payload_length = 40; }},
      {"payload length far beyond the frame", [](Nd& n) { n.payload_length = 0xffff; }},
      {"payload length shorter than a solicitation", [](Nd& n) { n.payload_length = 16; }},
      {"payload length off by one", [](Nd& n) { n.payload_length = 33; }},
  };
  for (const auto& [why, spoil] : faults) {
    Nd question;
    spoil(question);
    expect_untouched(question.bytes(), why);
  }
  EXPECT_EQ(ask(Nd().bytes()).verdict, kPipe) << "unspoilt, the same question is answered";
}

TEST_F(NeighbourProgram, a_solicitation_with_one_flipped_bit_in_its_message_is_left_alone) {
  const Bytes question = Nd().bytes();
  for (size_t bit = 22 * 8; bit < question.size() * 8; ++bit) {  // addresses and all of ICMPv6 are under the checksum
    Bytes flipped = question;
    flipped[bit / 8] = static_cast<uint8_t>(flipped[bit / 8] ^ (0x80U >> (bit % 8)));
    const Outcome outcome = ask(flipped);
    ASSERT_EQ(outcome.verdict, kUnspec) << "bit " << bit;
  }
}

// --- Hostile ------------------------------------------------------------------------------------------------------

// Whatever arrives, there are two outcomes: left alone to the last bit, or a valid answer.
TEST_F(NeighbourProgram, garbled_questions_are_left_alone_or_answered_rightly_but_never_half) {
  std::mt19937 random(20240229);
  const auto pick = [&random](size_t below) { return random() % below; };
  const std::vector<Bytes> seeds{Arp().bytes(), Arp().bytes() + Bytes(18, 0), Nd().bytes(),
                                 duplicate_detection_for("fd00:100::2").bytes(),
                                 solicitation_for("fd00:100::fe").bytes()};
  int answered = 0;
  int left = 0;
  for (int round = 0; round < 6000; ++round) {
    const size_t seed = pick(seeds.size());
    Bytes frame = seeds[seed];
    for (size_t n = pick(4); n > 0; --n) frame[pick(frame.size())] = static_cast<uint8_t>(random());
    if (pick(8) == 0) frame.resize(14 + pick(frame.size() * 2));
    // The checksum keeps most garbled solicitations out: make it right in half of them.
    if (frame.size() >= 86 && frame[12] == 0x86 && pick(2) == 0) {
      Bytes sum(frame.begin() + 22, frame.begin() + 54);
      frame[56] = frame[57] = 0;
      const size_t length = (static_cast<size_t>(frame[18]) << 8U) | frame[19];
      if (length >= 4 && 54 + length <= frame.size()) {
        sum = sum + Bytes{0, 0, frame[18], frame[19], 0, 0, 0, 58};
        sum.insert(sum.end(), frame.begin() + 54, frame.begin() + 54 + static_cast<ptrdiff_t>(length));
        const Bytes right = big_endian(internet_checksum(sum));
        frame[56] = right[0];
        frame[57] = right[1];
      }
    }
    const Outcome outcome = ask(frame);
    if (outcome.verdict == kUnspec) {
      ++left;
      ASSERT_EQ(to_hex(outcome.frame), to_hex(frame));
      continue;
    }
    ++answered;
    ASSERT_EQ(outcome.verdict, kPipe) << to_hex(frame);
    const Answer answer = frame[12] == 0x08 ? check_arp_reply(outcome.frame) : check_advertisement(outcome.frame);
    ASSERT_EQ(answer.wrong, "") << to_hex(frame);
    ASSERT_TRUE(answer.mac == kNeighbour || answer.mac == kGateway) << to_hex(frame);
  }
  EXPECT_GT(answered, 600);
  EXPECT_GT(left, 600);
}

}  // namespace
}  // namespace sepal::test
