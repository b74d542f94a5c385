// What a guest's port may say of itself in ARP and neighbour discovery, through the real program.
#include <functional>

#include "tests/bpf/neighbour_bed.hpp"

namespace sepal::test {
namespace {

using bpf::Neighbour;

const MacAddr kOther = mac("02:00:00:00:00:99");

// What a port has in the map: its MAC is the asker's, 10.0.0.1 and 10.7.0.0/16 are its own, and the subnet 10.7.1.0/24
// lies within the latter.
class GuestsPort : public NeighbourProgram {
 protected:
  void SetUp() override {
    NeighbourProgram::SetUp();
    if (!IsSkipped()) guard(kAsker);
  }
  static std::vector<Neighbour> entries(const MacAddr& own) {
    std::vector<Neighbour> entries{entry("0.0.0.0/0", SEPAL_ANSWER_GUARD, own),
                                   entry("::/0", SEPAL_ANSWER_GUARD, own),
                                   entry("10.0.0.0/24", SEPAL_ANSWER_NEIGHBOUR, kNeighbour),
                                   entry("10.0.0.1", SEPAL_ANSWER_SILENT, own),
                                   entry("10.0.0.254", SEPAL_ANSWER_GATEWAY, kGateway),
                                   entry("169.254.1.1", SEPAL_ANSWER_GATEWAY, kGateway),
                                   entry("10.7.0.0/16", SEPAL_ANSWER_SILENT, own),
                                   entry("10.7.1.0/24", SEPAL_ANSWER_NEIGHBOUR, kNeighbour),
                                   entry("fd00:100::/64", SEPAL_ANSWER_NEIGHBOUR, kNeighbour),
                                   entry("fd00:100::1", SEPAL_ANSWER_SILENT, own),
                                   entry("fd00:7::/48", SEPAL_ANSWER_SILENT, own),
                                   entry("fe80::1", SEPAL_ANSWER_GATEWAY, kGateway)};
    entries[7].value.own = 1;
    return entries;
  }
  void guard(const MacAddr& own) { know(entries(own)); }
  template <typename Packet>
  int says(const std::function<void(Packet&)>& change) {
    Packet packet;
    change(packet);
    return says(packet);
  }
  template <typename Packet>
  int says(const Packet& packet) {
    const Bytes frame = packet.bytes();
    const Outcome outcome = ask(frame);
    if (outcome.verdict != kPipe) {
      EXPECT_EQ(to_hex(outcome.frame), to_hex(frame)) << "left as it was";
    }
    return outcome.verdict;
  }
};

Nd advertisement_of(const char* target) {
  Nd said;
  said.to = mac("33:33:00:00:00:01");
  said.type = 136;
  said.flags = 0x20;
  said.destination = ip("ff02::1");
  said.target = ip(target);
  said.options = from_hex("020102000000000a");
  return said;
}

template <typename Packet>
struct Said {
  const char* what;
  std::function<void(Packet&)> change;
};

TEST_F(GuestsPort, honest_arp_is_answered_or_left_to_the_rule) {
  EXPECT_EQ(says(Arp()), kPipe);
  EXPECT_EQ(says<Arp>([](Arp& a) { a.sender_ip = ip("0.0.0.0"); }), kPipe) << "a probe, RFC 5227";
  EXPECT_EQ(says<Arp>([](Arp& a) { a.sender_ip = ip("10.7.9.9"); }), kPipe) << "one of its prefixes";
  EXPECT_EQ(says<Arp>([](Arp& a) { a.sender_ip = ip("10.7.1.9"); }), kPipe) << "the same, within a subnet";
  EXPECT_EQ(says<Arp>([](Arp& a) { a.target_ip = a.sender_ip; }), kUnspec) << "an announcement";
  EXPECT_EQ(says<Arp>([](Arp& a) { a.operation = 2; }), kUnspec) << "a reply";
  EXPECT_EQ(says<Arp>([](Arp& a) {
              a.sender_ip = ip("0.0.0.0");
              a.target_ip = ip("10.0.0.1");
            }),
            kUnspec)
      << "a probe for its own address: nobody has it";
  EXPECT_EQ(says<Arp>([](Arp& a) { a.target_ip = ip("10.0.1.2"); }), kUnspec) << "the guards answer nothing";
}

TEST_F(GuestsPort, forged_arp_is_dropped_by_the_program_itself) {
  const std::vector<Said<Arp>> forgeries{
      {"a neighbour's address", [](Arp& a) { a.sender_ip = ip("10.0.0.3"); }},
      {"the gateway's", [](Arp& a) { a.sender_ip = ip("10.0.0.254"); }},
      {"every guest's gateway's", [](Arp& a) { a.sender_ip = ip("169.254.1.1"); }},
      {"one from elsewhere", [](Arp& a) { a.sender_ip = ip("192.0.2.1"); }},
      {"a group's", [](Arp& a) { a.sender_ip = ip("224.0.0.1"); }},
      {"another MAC within", [](Arp& a) { a.sender_mac = kOther; }},
      {"another MAC without", [](Arp& a) { a.from = kOther; }},
      {"another MAC", [](Arp& a) { a.from = a.sender_mac = kOther; }},
      {"a probe from another MAC",
       [](Arp& a) {
         a.from = a.sender_mac = kOther;
         a.sender_ip = ip("0.0.0.0");
       }},
      {"an announcement of a neighbour's", [](Arp& a) { a.sender_ip = a.target_ip = ip("10.0.0.2"); }},
      {"a reply for a neighbour",
       [](Arp& a) {
         a.operation = 2;
         a.sender_ip = ip("10.0.0.3");
       }},
      {"a reply for the gateway",
       [](Arp& a) {
         a.operation = 2;
         a.sender_ip = ip("10.0.0.254");
       }},
  };
  for (const auto& [what, change] : forgeries) EXPECT_EQ(says<Arp>(change), kShot) << what;
}

TEST_F(GuestsPort, honest_neighbour_discovery_is_answered_or_left_to_the_rule) {
  EXPECT_EQ(says(Nd()), kPipe);
  EXPECT_EQ(says<Nd>([](Nd& n) { n.source = ip("fe80::2"); }), kPipe) << "its own link-local address, whichever";
  EXPECT_EQ(says<Nd>([](Nd& n) { n.source = ip("fd00:7::9"); }), kPipe) << "one of its prefixes";
  EXPECT_EQ(says<Nd>([](Nd& n) { n.options.clear(); }), kPipe);
  EXPECT_EQ(says(duplicate_detection_for("fd00:100::2")), kPipe);
  EXPECT_EQ(says(duplicate_detection_for("fd00:100::1")), kUnspec) << "nobody else has it";
  for (const char* own : {"fd00:100::1", "fd00:7::9", "fe80::2"}) {
    EXPECT_EQ(says(advertisement_of(own)), kUnspec) << own;
    Nd silent = advertisement_of(own);
    silent.options.clear();
    EXPECT_EQ(says(silent), kUnspec) << own;
  }
}

TEST_F(GuestsPort, forged_neighbour_discovery_is_dropped_by_the_program_itself) {
  const std::vector<Said<Nd>> forgeries{
      {"a neighbour's address", [](Nd& n) { n.source = ip("fd00:100::3"); }},
      {"the gateway's", [](Nd& n) { n.source = ip("fe80::1"); }},
      {"one from elsewhere", [](Nd& n) { n.source = ip("2001:db8::1"); }},
      {"another MAC within", [](Nd& n) { n.options = from_hex("0101020000000099"); }},
      {"another MAC within, after the right one", [](Nd& n) { n.options = n.options + from_hex("0101020000000099"); }},
      {"another MAC without", [](Nd& n) { n.from = kOther; }},
      {"another MAC",
       [](Nd& n) {
         n.from = kOther;
         n.options = from_hex("0101020000000099");
       }},
      {"a solicitation for its forged self", [](Nd& n) { n.source = n.target = ip("fd00:100::3"); }},
  };
  for (const auto& [what, change] : forgeries) EXPECT_EQ(says<Nd>(change), kShot) << what;
  Nd probe = duplicate_detection_for("fd00:100::2");
  probe.from = kOther;
  EXPECT_EQ(says(probe), kShot) << "duplicate detection from another MAC";
}

TEST_F(GuestsPort, forged_advertisements_are_dropped_by_the_program_itself) {
  for (const char* not_own : {"fd00:100::2", "fe80::1", "2001:db8::1"})
    EXPECT_EQ(says(advertisement_of(not_own)), kShot) << not_own;
  Nd said = advertisement_of("fd00:100::1");
  said.source = ip("fd00:100::3");
  EXPECT_EQ(says(said), kShot) << "its source";
  said = advertisement_of("fd00:100::1");
  said.options = from_hex("0201020000000099");
  EXPECT_EQ(says(said), kShot) << "its target's link-layer address";
  said = advertisement_of("fd00:100::1");
  said.from = kOther;
  EXPECT_EQ(says(said), kShot) << "its sender";
}

TEST_F(GuestsPort, what_is_malformed_is_no_forgery) {
  EXPECT_EQ(says<Arp>([](Arp& a) {
              a.operation = 3;
              a.sender_ip = ip("10.0.0.3");
            }),
            kUnspec);
  Nd said = advertisement_of("fd00:100::2");
  said.checksum = 0;
  EXPECT_EQ(says(said), kUnspec);
  said = advertisement_of("fd00:100::2");
  said.hop_limit = 254;
  EXPECT_EQ(says(said), kUnspec);
}

TEST_F(GuestsPort, where_the_ports_mac_is_not_known_only_what_contradicts_itself_is_forged) {
  guard(MacAddr{});
  EXPECT_EQ(says(Arp()), kPipe);
  EXPECT_EQ(says<Arp>([](Arp& a) { a.from = a.sender_mac = kOther; }), kPipe);
  EXPECT_EQ(says<Arp>([](Arp& a) { a.from = kOther; }), kShot);
  EXPECT_EQ(says<Arp>([](Arp& a) { a.sender_ip = ip("10.0.0.3"); }), kShot);
  EXPECT_EQ(says(Nd()), kPipe);
  EXPECT_EQ(says<Nd>([](Nd& n) { n.from = kOther; }), kShot);
}

// The prefix stands where the guard would, and says as much of IPv6; nothing of IPv4.
TEST_F(GuestsPort, a_port_that_everything_is_routed_to_may_say_it_is_anybody_but_the_gateway) {
  std::vector<Neighbour> all = entries(kAsker);
  all[1] = entry("::/0", SEPAL_ANSWER_SILENT, kAsker);
  all[8].value.own = 1;
  know(all);
  EXPECT_EQ(says<Nd>([](Nd& n) { n.source = ip("fd00:100::3"); }), kPipe);
  EXPECT_EQ(says<Nd>([](Nd& n) { n.source = ip("2001:db8::1"); }), kPipe);
  EXPECT_EQ(says<Nd>([](Nd& n) { n.source = ip("fe80::1"); }), kShot);
  EXPECT_EQ(says<Nd>([](Nd& n) { n.from = kOther; }), kShot);
  EXPECT_EQ(says<Arp>([](Arp& a) { a.sender_ip = ip("192.0.2.1"); }), kShot);
}

// Our own addresses stand in the map for the uplink, too: who claims one there is the host's business.
TEST_F(GuestsPort, on_a_wire_nobody_is_judged) {
  std::vector<Neighbour> both = entries(kAsker);
  both.push_back(entry("10.0.0.1", SEPAL_ANSWER_NEIGHBOUR, kGateway, 40));
  both.push_back(entry("fd00:100::1", SEPAL_ANSWER_NEIGHBOUR, kGateway, 40));
  know(both);
  const auto on_the_wire = [this](const auto& packet) { return ask_tagged(packet.bytes(), 40).verdict; };
  Arp question;
  question.sender_ip = ip("10.40.0.1");
  question.sender_mac = kOther;
  question.target_ip = ip("10.0.0.1");
  EXPECT_EQ(on_the_wire(question), kPipe);
  question.sender_ip = ip("10.0.0.1");
  EXPECT_EQ(on_the_wire(question), kUnspec) << "an announcement of an address of ours";
  question.operation = 2;
  EXPECT_EQ(on_the_wire(question), kUnspec);
  Nd solicitation = solicitation_for("fd00:100::1");
  solicitation.source = ip("fd00:40::1");
  EXPECT_EQ(on_the_wire(solicitation), kPipe);
  EXPECT_EQ(on_the_wire(advertisement_of("fd00:100::1")), kUnspec);
}

}  // namespace
}  // namespace sepal::test
