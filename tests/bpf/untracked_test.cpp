// Datagrams that go past conntrack, through the real program in its three modes: which are let go, which packets answer
// one, and what is counted and told of them.
#include <array>

#include "tests/bpf/untracked_bed.hpp"

namespace sepal::test {
namespace {

using bpf::RuleCount;

TEST_F(Untracked, the_first_datagram_of_a_flow_is_let_go_and_counted_and_the_second_is_neither) {
  uint64_t flows = 0;
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    EXPECT_TRUE(lets_go(question(ends)));
    EXPECT_EQ(counts(), allowed(++flows));
    EXPECT_FALSE(lets_go(question(ends)));
    EXPECT_FALSE(lets_go(question(ends)));
    EXPECT_EQ(counts(), allowed(flows));
    EXPECT_TRUE(lets_go(question(ends, 40001))) << "another flow";
    EXPECT_EQ(counts(), allowed(++flows));
  }
}

TEST_F(Untracked, the_first_answer_is_let_go_and_the_second_is_not) {
  uint64_t flows = 0;
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    const Datagram asked = question(ends);
    EXPECT_FALSE(lets_go(asked.answer())) << "nobody asked, and the port's groups let nothing out";
    ASSERT_TRUE(lets_go(asked));
    EXPECT_TRUE(lets_go(asked.answer()));
    EXPECT_FALSE(lets_go(asked.answer()));
    EXPECT_FALSE(lets_go(asked)) << "the second question";
    EXPECT_EQ(counts(), allowed(++flows)) << "an answer is no flow";
  }
}

TEST_F(Untracked, the_answer_to_a_second_question_is_conntracks) {
  once_asked([&](const Ends&, const Datagram& asked) {
    ASSERT_FALSE(lets_go(asked));
    EXPECT_FALSE(lets_go(asked.answer()));
    EXPECT_TRUE(answers(asked.answer()));
  });
}

TEST_F(Untracked, what_the_groups_deny_is_left_to_the_next_rule_and_not_counted) {
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    Datagram denied = question(ends);
    denied.destination_port = 54;
    EXPECT_FALSE(lets_go(denied));
    EXPECT_FALSE(answers(denied.answer()));
    EXPECT_FALSE(lets_go(question(ends), kGreen)) << "a tenant without tables";
    EXPECT_FALSE(answers(question(ends).answer(), kGreen));
  }
  EXPECT_TRUE(counts().empty());
  EXPECT_TRUE(taken().empty());
}

// The frame, with so many bytes behind its IP header by what that header says.
Bytes saying(Bytes frame, uint16_t payload) {
  const bool v4 = frame[12] == 0x08;
  const Bytes length = big_endian(static_cast<uint16_t>(payload + (v4 ? 20 : 0)));
  std::copy(length.begin(), length.end(), frame.begin() + (v4 ? 16 : 18));
  return frame;
}

TEST_F(Untracked, other_protocols_dhcp_and_what_conntrack_would_not_take_are_never_let_go) {
  enforce(policy::compile(one_port({allow(kUdp, 1, 65535), allow_tcp(1, 65535)})));
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    Datagram it = question(ends);
    it.protocol = kTcp;
    EXPECT_FALSE(lets_go(it));
    for (const uint16_t port : std::array<uint16_t, 4>{67, 68, 546, 547}) {
      EXPECT_FALSE(lets_go(question(ends, port))) << "from " << port;
      it = question(ends);
      it.destination_port = port;
      EXPECT_FALSE(lets_go(it)) << "to " << port;
    }
    for (const uint16_t length : std::array<uint16_t, 4>{0, 7, 21, 65535}) {
      it = question(ends);
      it.length = length;
      EXPECT_FALSE(lets_go(it)) << "length " << length;
    }
    it = question(ends);
    it.length = 21;
    EXPECT_FALSE(lets_go(framed(it.bytes()) + Bytes(8, 0))) << "into what follows the IP packet in its frame";
    it.length = 1000;
    EXPECT_FALSE(lets_go(saying(framed(it.bytes()), 1000))) << "lengths that agree, of more than there is";
    const Bytes whole = question(ends).transport();
    for (const ptrdiff_t there : std::array<ptrdiff_t, 4>{0, 3, 4, 7}) {
      const Bytes cut(whole.begin(), whole.begin() + there);
      EXPECT_FALSE(lets_go(framed(ip_packet(ends.client, ends.server, kUdp, cut)))) << there << " bytes of UDP";
    }
    const Bytes echo = Icmp{static_cast<uint8_t>(ends.client.is_v4() ? 8 : 128), 0, 1, Bytes(8, 0)}.bytes();
    EXPECT_FALSE(lets_go(framed(ip_packet(ends.client, ends.server, ends.client.is_v4() ? 1 : 58, echo))));
  }
  Ip4 four = question_in<Ip4>(both_families()[0]);
  for (const uint16_t fragment : std::array<uint16_t, 3>{185, 0x2000, 0x2000 | 185}) {
    four.fragment = fragment;
    EXPECT_FALSE(lets_go(ethernet(0x0800, four.bytes()))) << "fragment " << fragment;
  }
  Ip6 six = question_in<Ip6>(both_families()[1]);
  six.next_header = 44;
  for (const uint16_t fragment : std::array<uint16_t, 3>{0, 1, 8}) {
    six.payload = Bytes{kUdp, 0} + big_endian(fragment) + Bytes(4, 0) + question(both_families()[1]).transport();
    EXPECT_FALSE(lets_go(ethernet(0x86dd, six.bytes()))) << "fragment header " << fragment;
  }
  EXPECT_FALSE(lets_go(Arp().bytes()));
  EXPECT_TRUE(counts().empty());
  EXPECT_TRUE(taken().empty());
}

TEST_F(Untracked, only_usual_ttls_are_let_go) {
  enforce(policy::compile(one_port({allow(kUdp, 1, 65535)})));
  uint16_t port = 51000;
  for (const auto& [ttl, usual] : std::array<std::pair<uint8_t, bool>, 8>{
           {{0, false}, {1, false}, {63, false}, {64, true}, {128, true}, {191, true}, {192, false}, {255, false}}}) {
    Ip4 four = question_in<Ip4>(both_families()[0], ++port);
    four.ttl = ttl;
    EXPECT_EQ(lets_go(ethernet(0x0800, four.bytes())), usual) << unsigned{ttl};
    Ip6 six = question_in<Ip6>(both_families()[1], port);
    six.hop_limit = ttl;
    EXPECT_EQ(lets_go(ethernet(0x86dd, six.bytes())), usual) << unsigned{ttl};
  }
}

TEST_F(Untracked, ports_beside_those_of_dhcp_and_all_lengths_that_fit_are_let_go) {
  enforce(policy::compile(one_port({allow(kUdp, 1, 65535)})));
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    for (const uint16_t port : std::array<uint16_t, 4>{66, 69, 545, 548}) {
      EXPECT_TRUE(lets_go(question(ends, port))) << port;
      Datagram it = question(ends);
      it.destination_port = port;
      EXPECT_TRUE(lets_go(it)) << port;
    }
    for (const uint16_t length : std::array<uint16_t, 2>{8, 20}) {
      Datagram it = question(ends, static_cast<uint16_t>(50000 + length));
      it.length = length;
      EXPECT_TRUE(lets_go(it)) << length;
    }
    EXPECT_TRUE(lets_go(framed(question(ends, 50021).bytes()) + Bytes(8, 0))) << "padded";
  }
}

TEST_F(Untracked, what_answers_a_datagram_is_told_from_what_nobody_asked_for) {
  uint64_t flows = 0;
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    const Datagram asked = question(ends);
    EXPECT_FALSE(answers(asked.answer())) << "nobody asked yet";
    EXPECT_FALSE(answers(asked));
    ASSERT_TRUE(lets_go(asked));
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(answers(asked.answer())) << i;
    EXPECT_FALSE(lets_go(asked.answer())) << "not the first any more";
    EXPECT_FALSE(answers(asked)) << "the question itself";
    Datagram unasked = asked.answer();
    unasked.source_port = 54;
    EXPECT_FALSE(answers(unasked));
    unasked = asked.answer();
    unasked.destination_port = 40001;
    EXPECT_FALSE(answers(unasked));
    unasked = asked.answer();
    unasked.source = ends.other;
    EXPECT_FALSE(answers(unasked));
    unasked = asked.answer();
    unasked.destination = ends.other;
    EXPECT_FALSE(answers(unasked));
    unasked = asked.answer();
    unasked.protocol = kTcp;
    EXPECT_FALSE(answers(unasked));
    EXPECT_EQ(counts(), allowed(++flows)) << "an answer is no flow";
  }
}

TEST_F(Untracked, answers_and_errors_are_judged_by_what_the_groups_say_now) {
  const policy::TenantPolicy other = policy::compile(one_port({allow(kUdp, 54, 54)}));
  once_asked([&](const Ends& ends, const Datagram& asked) {
    enforce(other);
    EXPECT_FALSE(lets_go(asked.answer()));
    EXPECT_FALSE(answers(asked.answer()));
    EXPECT_FALSE(answers(error(ends, ends.client, asked.bytes())));
    EXPECT_FALSE(lets_go(asked));
    EXPECT_EQ(begins(asked), kShot);
    enforce(dns_);
    EXPECT_TRUE(answers(asked.answer()));
    EXPECT_TRUE(answers(error(ends, ends.client, asked.bytes())));
  });
}

TEST_F(Untracked, another_network_with_the_same_addresses_knows_nothing) {
  enforce(policy::compile(one_port({allow(kUdp, 53, 53)}, kGreen)));
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    const Datagram asked = question(ends);
    ASSERT_TRUE(lets_go(asked, kBlue));
    EXPECT_FALSE(lets_go(asked.answer(), kGreen));
    EXPECT_FALSE(answers(asked.answer(), kGreen));
    EXPECT_FALSE(answers(error(ends, ends.client, asked.bytes()), kGreen));
    EXPECT_TRUE(lets_go(asked, kGreen)) << "the first there";
    EXPECT_TRUE(lets_go(asked.answer(), kBlue));
    EXPECT_TRUE(lets_go(asked.answer(), kGreen));
  }
}

TEST_F(Untracked, a_flow_that_was_let_go_is_not_counted_again_when_conntrack_takes_it) {
  uint64_t flows = 0;
  once_asked([&](const Ends& ends, const Datagram& asked) {
    EXPECT_EQ(begins(asked), kPipe);
    EXPECT_EQ(begins(asked), kPipe);
    EXPECT_EQ(counts(), allowed(++flows));
    EXPECT_EQ(begins(question(ends, 40001)), kPipe) << "was not let go";
    EXPECT_EQ(counts(), allowed(++flows));
  });
}

TEST_F(Untracked, a_flow_that_was_let_go_and_may_not_begin_any_more_is_counted_as_denied) {
  uint64_t flows = 0;
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    enforce(dns_);
    const Datagram asked = question(ends);
    ASSERT_TRUE(lets_go(asked));
    enforce(policy::compile(one_port({allow(kUdp, 54, 54)})));
    EXPECT_FALSE(lets_go(asked)) << "counted where it is dropped";
    EXPECT_EQ(begins(asked), kShot);
    ++flows;
    EXPECT_EQ(counts(), (std::vector<RuleCount>{{kBlue, SEPAL_RULE_DEFAULT_INGRESS, 0, flows, 0},
                                                {kBlue, dns_.rules.at(0).id, flows, 0, 0}}));
  }
}

TEST_F(Untracked, a_flow_is_told_of_once_when_it_is_let_go) {
  policy::Network network = one_port({allow(kUdp, 53, 53)});
  network.groups[0].ingress[0].log = true;
  enforce(policy::compile(network));
  once_asked([&](const Ends& ends, const Datagram& asked) {
    const auto told = events();
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].kind, SEPAL_EVENT_ALLOWED);
    EXPECT_EQ(told[0].is_ipv6, ends.client.is_v4() ? 0U : 1U);
    EXPECT_EQ(Bytes(told[0].source, told[0].source + 16), Bytes(ends.client.bytes.begin(), ends.client.bytes.end()));
    EXPECT_EQ(told[0].source_port[0] << 8U | told[0].source_port[1], 40000);
    EXPECT_EQ(told[0].detail[0] << 8U | told[0].detail[1], 53);
    EXPECT_TRUE(lets_go(asked.answer()));
    EXPECT_TRUE(answers(asked.answer()));
    EXPECT_TRUE(answers(error(ends, ends.client, asked.bytes())));
    EXPECT_FALSE(lets_go(asked));
    EXPECT_EQ(begins(asked), kPipe);
    EXPECT_TRUE(events().empty());
  });
}

}  // namespace
}  // namespace sepal::test
