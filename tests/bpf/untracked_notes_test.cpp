// What is noted of flows of which a datagram went past conntrack, in the map and through the real program: what is
// noted and what is not, for how long it holds, what there is no place for, and what is forgotten.
#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <tuple>
#include <utility>

#include "tests/bpf/untracked_bed.hpp"

namespace sepal::test {
namespace {

using bpf::RuleCount;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

uint64_t now() {
  return static_cast<uint64_t>(std::chrono::duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

Bytes bytes_of(const sepal_untracked_flow& flow) {
  Bytes bytes(sizeof flow);
  std::memcpy(bytes.data(), &flow, sizeof flow);
  return bytes;
}
std::vector<Bytes> places_of(const sepal_untracked_bucket& bucket) {
  std::vector<Bytes> places;
  for (const sepal_untracked_flow& flow : bucket.flows) places.push_back(bytes_of(flow));
  return places;
}
// Somebody's, noted just now.
sepal_untracked_flow foreign(uint8_t number) {
  sepal_untracked_flow flow{};
  const Bytes source{192, 0, 2, number};
  const Bytes destination{198, 51, 100, 7};
  std::copy(source.begin(), source.end(), flow.tuple.source);
  std::copy(destination.begin(), destination.end(), flow.tuple.destination);
  flow.tuple.source_port[1] = number;
  flow.tuple.destination_port[1] = 53;
  flow.tuple.network = kBlue.value();
  flow.since = now();
  return flow;
}

// What port web-0 lets in, and what it lets out.
policy::TenantPolicy lets(std::vector<config::GroupRule> in, std::vector<config::GroupRule> out) {
  policy::Network network = one_port(std::move(in));
  network.groups[0].egress = std::move(out);
  return policy::compile(network);
}

TEST_F(Untracked, the_map_has_the_layout_that_is_written_down) {
  bpf_map_info info{};
  uint32_t size = sizeof info;
  ASSERT_EQ(::bpf_obj_get_info_by_fd(map_.get(), &info, &size), 0);
  EXPECT_EQ(info.type, static_cast<uint32_t>(BPF_MAP_TYPE_ARRAY));
  EXPECT_EQ(info.key_size, 4U);
  EXPECT_EQ(info.value_size, 232U);
  EXPECT_EQ(info.max_entries, 32768U);
  EXPECT_TRUE(taken().empty());
}

TEST_F(Untracked, an_answer_is_one_for_thirty_seconds) {
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    forget_all();
    const Datagram asked = question(ends);
    const Datagram quiet = question(ends, 40001);
    const Datagram never_answered = question(ends, 40002);
    for (const Datagram& it : {asked, quiet, never_answered}) ASSERT_TRUE(lets_go(it));
    age(kBefore);
    EXPECT_TRUE(answers(asked.answer()));
    EXPECT_TRUE(lets_go(quiet.answer()));
    EXPECT_TRUE(answers(error(ends, ends.client, quiet.bytes())));
    age(kAfter - kBefore);
    for (const Datagram& it : {asked, quiet, never_answered}) {
      EXPECT_FALSE(answers(it.answer()));
      EXPECT_FALSE(lets_go(it.answer()));
      EXPECT_FALSE(answers(error(ends, ends.client, it.bytes())));
    }
  }
}

TEST_F(Untracked, a_flow_that_was_quiet_for_thirty_seconds_is_let_go_again_unless_conntrack_had_it) {
  uint64_t flows = 0;
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    forget_all();
    const Datagram answered = question(ends);
    const Datagram tracked = question(ends, 40001);
    ASSERT_TRUE(lets_go(answered));
    ASSERT_TRUE(lets_go(answered.answer()));
    ASSERT_TRUE(lets_go(tracked));
    ASSERT_FALSE(lets_go(tracked));
    flows += 2;
    age(kAfter);
    EXPECT_TRUE(lets_go(answered));
    EXPECT_TRUE(lets_go(answered.answer()));
    EXPECT_FALSE(lets_go(tracked)) << "conntrack may have it still";
    EXPECT_EQ(counts(), allowed(++flows));
    EXPECT_EQ(begins(tracked), kPipe);
    EXPECT_EQ(counts(), allowed(++flows)) << "conntrack had it no more: it begins anew";
  }
}

TEST_F(Untracked, a_full_bucket_lets_nothing_go_and_pushes_nothing_out_until_a_place_expires) {
  uint64_t flows = 0;
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    forget_all();
    const Datagram asked = question(ends);
    ASSERT_TRUE(lets_go(asked));
    ++flows;
    const std::vector<uint32_t> numbers = taken();
    ASSERT_EQ(numbers.size(), 1U);
    sepal_untracked_bucket full{};
    for (uint8_t i = 0; i < SEPAL_UNTRACKED_WAYS; ++i) full.flows[i] = foreign(i);
    put(numbers[0], full);

    EXPECT_FALSE(lets_go(asked));
    EXPECT_FALSE(answers(asked.answer()));
    EXPECT_FALSE(lets_go(asked.answer()));
    EXPECT_EQ(places_of(bucket(numbers[0])), places_of(full));
    EXPECT_EQ(counts(), allowed(flows));
    EXPECT_EQ(begins(asked), kPipe) << "tracked, as all others are";
    EXPECT_EQ(counts(), allowed(++flows));

    full.flows[2].since -= static_cast<uint64_t>(nanoseconds(kAfter).count());
    put(numbers[0], full);
    EXPECT_TRUE(lets_go(asked));
    EXPECT_EQ(counts(), allowed(++flows));
    EXPECT_EQ(taken(), numbers) << "in its own bucket";
    std::vector<Bytes> expected = places_of(full);
    const std::vector<Bytes> places = places_of(bucket(numbers[0]));
    EXPECT_NE(places[2], expected[2]);
    expected[2] = places[2];
    EXPECT_EQ(places, expected) << "the other three are left alone";
    EXPECT_TRUE(lets_go(asked.answer()));
  }
}

TEST_F(Untracked, flows_are_forgotten_by_address) {
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    forget_all();
    const Datagram asked = question(ends);
    Datagram others = asked;
    others.source = ends.other;
    ASSERT_TRUE(lets_go(asked));
    ASSERT_TRUE(lets_go(others));
    using Told = std::tuple<Vni, IpAddr, IpAddr>;
    std::vector<Told> told;
    ASSERT_TRUE(policies_->forget_untracked([&](Vni vni, const IpAddr& one, const IpAddr& other) {
      told.emplace_back(vni, one, other);
      return one == ends.client || other == ends.client;
    }));
    std::sort(told.begin(), told.end());
    std::vector<Told> expected{{kBlue, ends.client, ends.server}, {kBlue, ends.other, ends.server}};
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(told, expected);
    EXPECT_FALSE(answers(asked.answer()));
    EXPECT_FALSE(answers(error(ends, ends.client, asked.bytes())));
    EXPECT_TRUE(answers(others.answer()));
    EXPECT_TRUE(lets_go(asked)) << "the first again";
    ASSERT_TRUE(policies_->forget_untracked(
        [&](Vni, const IpAddr& one, const IpAddr& other) { return one == ends.server || other == ends.server; }));
    EXPECT_TRUE(taken().empty());
  }
}

TEST_F(Untracked, flows_are_forgotten_by_network) {
  enforce(policy::compile(one_port({allow(kUdp, 53, 53)}, kGreen)));
  for (const Ends& ends : both_families()) {
    ASSERT_TRUE(lets_go(question(ends), kBlue));
    ASSERT_TRUE(lets_go(question(ends), kGreen));
  }
  ASSERT_TRUE(policies_->forget_untracked([](Vni vni, const IpAddr&, const IpAddr&) { return vni == kBlue; }));
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    EXPECT_FALSE(answers(question(ends).answer(), kBlue));
    EXPECT_TRUE(answers(question(ends).answer(), kGreen));
  }
}

TEST_F(Untracked, a_flow_that_is_forgotten_leaves_its_neighbours_in_the_bucket) {
  const Ends ends = both_families()[0];
  ASSERT_TRUE(lets_go(question(ends)));
  const std::vector<uint32_t> numbers = taken();
  ASSERT_EQ(numbers.size(), 1U);
  sepal_untracked_bucket expected = bucket(numbers[0]);
  for (uint8_t i = 0; i < SEPAL_UNTRACKED_WAYS; ++i)
    if (expected.flows[i].since == 0) expected.flows[i] = foreign(i);
  put(numbers[0], expected);
  ASSERT_TRUE(policies_->forget_untracked([&](Vni, const IpAddr& one, const IpAddr&) { return one == ends.client; }));
  unsigned forgotten = 0;
  const sepal_untracked_bucket left = bucket(numbers[0]);
  for (size_t i = 0; i < SEPAL_UNTRACKED_WAYS; ++i) {
    if (expected.flows[i].tuple.source[0] == 192) {
      EXPECT_EQ(bytes_of(left.flows[i]), bytes_of(expected.flows[i]));
    } else {
      EXPECT_EQ(bytes_of(left.flows[i]), Bytes(sizeof(sepal_untracked_flow), 0));
      ++forgotten;
    }
  }
  EXPECT_EQ(forgotten, 1U);
}

TEST_F(Untracked, a_restart_knows_what_was_let_go) {
  for (const Ends& ends : both_families()) ASSERT_TRUE(lets_go(question(ends)));
  policies_.reset();
  policies_.emplace(load());
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    EXPECT_FALSE(lets_go(question(ends)));
    EXPECT_TRUE(answers(question(ends).answer()));
  }
}

TEST_F(Untracked, a_flow_that_begins_as_conntracks_is_noted_so_where_the_mark_says_it) {
  enforce(lets({allow(kUdp, 1, 65535)}, {allow(kUdp, 1, 65535)}));
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    const Datagram plain = question(ends);
    const Datagram plain_answered = question(ends, 40001);
    EXPECT_EQ(begins(plain), kPipe);
    EXPECT_EQ(begins(plain_answered), kPipe);
    EXPECT_TRUE(lets_go(plain)) << "without the mark nobody knows of it";
    EXPECT_TRUE(lets_go(plain_answered.answer()));
    const Datagram noted = question(ends, 40002);
    const Datagram noted_answered = question(ends, 40003);
    EXPECT_EQ(begins(noted, SEPAL_MARK_NOTES), kPipe);
    EXPECT_EQ(begins(noted_answered, SEPAL_MARK_NOTES), kPipe);
    EXPECT_FALSE(lets_go(noted)) << "conntrack has it";
    EXPECT_FALSE(lets_go(noted_answered.answer()));
  }
}

TEST_F(Untracked, what_is_denied_tcp_and_what_a_peer_sends_are_not_noted) {
  enforce(policy::compile(one_port({allow(kUdp, 53, 53), allow_tcp(53, 53)})));
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    Datagram denied = question(ends);
    denied.destination_port = 54;
    EXPECT_EQ(begins(denied, SEPAL_MARK_NOTES), kShot);
    Datagram segment = question(ends);
    segment.protocol = kTcp;
    EXPECT_EQ(begins(segment, SEPAL_MARK_NOTES), kPipe);
    EXPECT_EQ(begins(question(ends), SEPAL_MARK_NOTES | SEPAL_MARK_FROM_PEER), kPipe);
    EXPECT_TRUE(taken().empty());
    EXPECT_EQ(begins(question(ends), SEPAL_MARK_NOTES), kPipe);
    EXPECT_EQ(taken().size(), 1U) << "and this one is";
    forget_all();
  }
}

// The stale note is in the place that the fresh one takes, or in another one of the bucket.
TEST_F(Untracked, a_stale_note_of_one_direction_does_not_hide_a_fresh_one_of_the_other) {
  const config::GroupRule sip = allow(kUdp, 5060, 5060);
  const policy::TenantPolicy both = lets({sip}, {sip});
  const policy::TenantPolicy only_out = lets({}, {sip});
  for (const Ends& ends : both_families()) {
    for (const size_t place : std::array<size_t, 2>{0, SEPAL_UNTRACKED_WAYS - 1}) {
      for (const policy::TenantPolicy* then : {&both, &only_out}) {
        SCOPED_TRACE(testing::Message() << ends.family << ", place " << place << (then == &both ? "" : ", only out"));
        forget_all();
        enforce(both);
        const Datagram in{ends.client, ends.server, 5060, 5060};
        ASSERT_TRUE(lets_go(in));
        move_to(place);
        age(kAfter);
        const std::vector<RuleCount> earlier = counts();
        ASSERT_TRUE(lets_go(in.answer()));
        const std::vector<RuleCount> later = counts();
        EXPECT_NE(later, earlier) << "a new flow";
        enforce(*then);
        EXPECT_TRUE(lets_go(in)) << "its first answer";
        EXPECT_TRUE(answers(in));
        EXPECT_EQ(counts(), later) << "an answer is no flow";
      }
    }
  }
}

TEST_F(Untracked, what_conntrack_had_is_let_go_in_neither_direction_later) {
  enforce(lets({allow(kUdp, 1, 65535)}, {allow(kUdp, 1, 65535)}));
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    forget_all();
    const Datagram asked_once = question(ends);
    const Datagram asked_twice = question(ends, 40001);
    const Datagram answered_twice = question(ends, 40002);
    const Datagram never_let_go = question(ends, 40003);
    for (const Datagram& it : {asked_once, asked_twice, answered_twice}) ASSERT_TRUE(lets_go(it));
    ASSERT_FALSE(lets_go(asked_twice));
    ASSERT_TRUE(lets_go(answered_twice.answer()));
    ASSERT_FALSE(lets_go(answered_twice.answer()));
    ASSERT_EQ(begins(never_let_go, SEPAL_MARK_NOTES), kPipe);
    age(kAfter);
    for (const Datagram& it : {asked_twice, answered_twice, never_let_go}) {
      EXPECT_FALSE(lets_go(it.answer())) << "an answer to " << it.source_port;
      EXPECT_FALSE(lets_go(it)) << "from " << it.source_port;
    }
    EXPECT_TRUE(lets_go(asked_once.answer())) << "conntrack never had this one: a flow of its own";
  }
}

}  // namespace
}  // namespace sepal::test
