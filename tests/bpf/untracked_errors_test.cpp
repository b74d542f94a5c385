// ICMP errors about datagrams that went past conntrack, through the real program: which are known, and which are none.
#include "tests/bpf/untracked_bed.hpp"

namespace sepal::test {
namespace {

TEST_F(Untracked, an_error_about_a_datagram_that_was_let_go_is_known) {
  uint64_t flows = 0;
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    const Datagram asked = question(ends);
    EXPECT_FALSE(answers(error(ends, ends.client, asked.bytes()))) << "nothing was let go yet";
    ASSERT_TRUE(lets_go(asked));
    for (const uint8_t type : errors_of(ends)) {
      EXPECT_TRUE(answers(error(ends, ends.client, asked.bytes(), type))) << "type " << int{type};
      EXPECT_FALSE(lets_go(error(ends, ends.client, asked.bytes(), type))) << "type " << int{type};
    }
    const Bytes whole = asked.bytes();
    const auto ports = static_cast<ptrdiff_t>(whole.size()) - 20 + 4;
    EXPECT_TRUE(answers(error(ends, ends.client, {whole.begin(), whole.begin() + ports}))) << "quoted up to the ports";
    EXPECT_TRUE(answers(error(ends, ends.server, asked.answer().bytes())))
        << "the client has gone before its answer came";
    EXPECT_EQ(counts(), allowed(++flows)) << "an error is no flow";
  }
}

TEST_F(Untracked, an_error_about_something_else_is_not) {
  once_asked([&](const Ends& ends, const Datagram& asked) {
    Datagram quoted = asked;
    quoted.destination_port = 54;
    EXPECT_FALSE(answers(error(ends, ends.client, quoted.bytes())));
    quoted = asked;
    quoted.source_port = 40001;
    EXPECT_FALSE(answers(error(ends, ends.client, quoted.bytes())));
    quoted = asked;
    quoted.destination = ends.other;
    EXPECT_FALSE(answers(error(ends, ends.client, quoted.bytes())));
    quoted = asked;
    quoted.protocol = kTcp;
    EXPECT_FALSE(answers(error(ends, ends.client, quoted.bytes())));
    EXPECT_FALSE(answers(error(ends, ends.other, asked.bytes()))) << "its receiver sent nothing";
    EXPECT_FALSE(answers(error(ends, ends.server, asked.bytes())));
    const std::vector<uint8_t> no_errors =
        ends.client.is_v4() ? std::vector<uint8_t>{0, 4, 5, 8, 13} : std::vector<uint8_t>{0, 5, 128, 129, 135};
    for (const uint8_t type : no_errors)
      EXPECT_FALSE(answers(error(ends, ends.client, asked.bytes(), type))) << "type " << int{type};
    const Bytes whole = asked.bytes();
    const auto head = static_cast<ptrdiff_t>(whole.size()) - 20;
    for (const ptrdiff_t there : {ptrdiff_t{0}, head - 1, head, head + 3})
      EXPECT_FALSE(answers(error(ends, ends.client, {whole.begin(), whole.begin() + there}))) << there << " quoted";
    EXPECT_TRUE(answers(error(ends, ends.client, asked.bytes()))) << "and this one is";
  });
  Ip4 fragment;
  fragment.protocol = kUdp;
  const Ends four = both_families()[0];
  fragment.source = four.client;
  fragment.destination = four.server;
  fragment.fragment = 185;
  fragment.payload = question(four).transport();
  EXPECT_FALSE(answers(error(four, four.client, fragment.bytes()))) << "a fragment shows no ports";
}

TEST_F(Untracked, a_segment_of_tcp_whose_bytes_look_like_an_error_is_none) {
  once_asked([&](const Ends& ends, const Datagram& asked) {
    // To port 769: its first byte would be the type "unreachable" of ICMP, "time exceeded" of ICMPv6.
    const Bytes segment = big_endian(53) + big_endian(0x0301) + Bytes(4, 0) + asked.bytes();
    EXPECT_FALSE(answers(framed(ip_packet(ends.router, ends.client, kTcp, segment))));
  });
}

TEST_F(Untracked, an_error_that_is_asked_about_changes_nothing_of_what_is_noted) {
  once_asked([&](const Ends& ends, const Datagram& asked) {
    EXPECT_TRUE(answers(error(ends, ends.client, asked.bytes())));
    EXPECT_TRUE(lets_go(asked.answer())) << "the first answer, after an error about the question";
    const Datagram gone = question(ends, 40001);
    ASSERT_TRUE(lets_go(gone));
    EXPECT_TRUE(answers(error(ends, ends.server, gone.answer().bytes())));
    EXPECT_TRUE(lets_go(gone.answer())) << "the first answer, after an error about an answer";
  });
}

}  // namespace
}  // namespace sepal::test
