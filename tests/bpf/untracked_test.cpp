// Datagrams that go past conntrack, through the real program in its three modes: which are let go, which packets answer
// one or are an error about one, what is counted of them, and what the map that knows them holds, takes and forgets.
#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <tuple>

#include "tests/bpf/policy_bed.hpp"

namespace sepal::test {
namespace {

using bpf::RuleCount;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr Vni kBlue(100);
constexpr Vni kGreen(200);
constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;
constexpr seconds kBefore(20);  // an answer is one no more; a slow machine has time for its test
constexpr seconds kAfter(31);

uint64_t now() {
  return static_cast<uint64_t>(std::chrono::duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

// One pair of guests in each family: the server is port web-0, with groups; the others have none.
struct Ends {
  const char* family;
  IpAddr client;
  IpAddr server;
  IpAddr other;
  IpAddr router;
};
std::array<Ends, 2> both_families() {
  return {Ends{"IPv4", ip("10.9.9.9"), ip("10.0.0.1"), ip("10.9.9.8"), ip("192.0.2.254")},
          Ends{"IPv6", ip("fd00:9::9"), ip("fd00::1"), ip("fd00:9::8"), ip("2001:db8::fe")}};
}

// From the IP header on.
Bytes packet(const IpAddr& source, const IpAddr& destination, uint8_t protocol, const Bytes& payload) {
  if (source.is_v4()) {
    Ip4 four;
    four.source = source;
    four.destination = destination;
    four.protocol = protocol;
    four.payload = payload;
    return four.bytes();
  }
  Ip6 six;
  six.source = source;
  six.destination = destination;
  six.next_header = protocol;
  six.payload = payload;
  return six.bytes();
}
Bytes framed(const Bytes& packet) { return ethernet(packet[0] >> 4U == 4 ? 0x0800 : 0x86dd, packet); }

// Of UDP, unless a test says otherwise.
struct Datagram {
  IpAddr source;
  IpAddr destination;
  uint16_t source_port = 40000;
  uint16_t destination_port = 53;
  uint8_t protocol = kUdp;
  uint16_t length = 20;  // as it says; that is what is there

  [[nodiscard]] Datagram answer() const {
    return {destination, source, destination_port, source_port, protocol, length};
  }
  [[nodiscard]] Bytes transport() const {
    return big_endian(source_port) + big_endian(destination_port) + big_endian(length) + big_endian(0) + Bytes(12, 0);
  }
  [[nodiscard]] Bytes bytes() const { return packet(source, destination, protocol, transport()); }
};

Datagram question(const Ends& ends, uint16_t source_port = 40000) { return {ends.client, ends.server, source_port}; }

std::vector<uint8_t> errors_of(const Ends& ends) {
  if (ends.client.is_v4()) return {3, 11, 12};
  return {1, 2, 3, 4};
}

// Tells `receiver` of a packet; comes from a router on the way.
Bytes error(const Ends& ends, const IpAddr& receiver, const Bytes& quoted, std::optional<uint8_t> type = {}) {
  const auto protocol = static_cast<uint8_t>(receiver.is_v4() ? 1 : 58);
  return framed(
      packet(ends.router, receiver, protocol, Icmp{type.value_or(errors_of(ends).front()), 0, 0, quoted}.bytes()));
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

class Untracked : public PolicyEvents {
 protected:
  void SetUp() override {
    PolicyEvents::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(policies_->pin());
    map_ = UniqueFd(::bpf_obj_get((bpffs_->path() + "/sepal/lab/sepal_untracked").c_str()));
    ASSERT_TRUE(map_.valid());
    enforce(dns_);
  }

  // The three modes. The mark is cleared where the next rule goes on, and left to the actions where this one does.
  bool ask(uint32_t mark, const Bytes& frame) {
    const Outcome said = run(policies_->program().fd.get(), frame, 1, {}, mark);
    const bool yes = said.verdict == kPipe;
    EXPECT_TRUE(yes || said.verdict == kUnspec) << said.verdict;
    EXPECT_EQ(said.mark, yes ? mark : 0U);
    return yes;
  }
  bool lets_go(const Bytes& frame, Vni vni = kBlue) { return ask(SEPAL_MARK_LET_GO | vni.value(), frame); }
  bool lets_go(const Datagram& it, Vni vni = kBlue) { return lets_go(framed(it.bytes()), vni); }
  bool answers(const Bytes& frame, Vni vni = kBlue) { return ask(SEPAL_MARK_ANSWERS | vni.value(), frame); }
  bool answers(const Datagram& it, Vni vni = kBlue) { return answers(framed(it.bytes()), vni); }
  int begins(const Datagram& it) {
    return run_marked(policies_->program().fd.get(), framed(it.bytes()), kBlue.value());
  }

  std::vector<RuleCount> counts() {
    auto counts = policies_->counts();
    if (!counts) throw std::runtime_error(counts.error().message());
    return *counts;
  }
  // So many flows that port 53 was allowed, and nothing else.
  [[nodiscard]] std::vector<RuleCount> allowed(uint64_t flows) const {
    return {{kBlue, dns_.rules.at(0).id, flows, 0, 0}};
  }

  sepal_untracked_bucket bucket(uint32_t number) {
    sepal_untracked_bucket bucket{};
    if (::bpf_map_lookup_elem(map_.get(), &number, &bucket) != 0) throw std::runtime_error("a bucket is not there");
    return bucket;
  }
  void put(uint32_t number, const sepal_untracked_bucket& bucket) {
    ASSERT_EQ(::bpf_map_update_elem(map_.get(), &number, &bucket, BPF_F_LOCK), 0);
  }
  // The buckets in which a place is taken.
  std::vector<uint32_t> taken() {
    std::vector<uint32_t> numbers;
    for (uint32_t number = 0; number < SEPAL_UNTRACKED_BUCKETS; ++number) {
      const sepal_untracked_bucket it = bucket(number);
      if (std::any_of(std::begin(it.flows), std::end(it.flows), [](const auto& flow) { return flow.since != 0; }))
        numbers.push_back(number);
    }
    return numbers;
  }
  // As if everything had been so much longer ago.
  void age(seconds by) {
    for (const uint32_t number : taken()) {
      sepal_untracked_bucket older = bucket(number);
      for (sepal_untracked_flow& flow : older.flows)
        if (flow.since != 0) flow.since -= static_cast<uint64_t>(nanoseconds(by).count());
      put(number, older);
    }
  }
  void forget_all() {
    ASSERT_TRUE(policies_->forget_untracked([](Vni, const IpAddr&, const IpAddr&) { return true; }));
  }

  const policy::TenantPolicy dns_ = policy::compile(one_port({allow(kUdp, 53, 53)}));
  UniqueFd map_;
};

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
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    const Datagram asked = question(ends);
    ASSERT_TRUE(lets_go(asked));
    ASSERT_FALSE(lets_go(asked));
    EXPECT_FALSE(lets_go(asked.answer()));
    EXPECT_TRUE(answers(asked.answer()));
  }
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
    const Bytes whole = question(ends).transport();
    for (const ptrdiff_t there : std::array<ptrdiff_t, 4>{0, 3, 4, 7}) {
      const Bytes cut(whole.begin(), whole.begin() + there);
      EXPECT_FALSE(lets_go(framed(packet(ends.client, ends.server, kUdp, cut)))) << there << " bytes of UDP";
    }
    const Bytes echo = Icmp{static_cast<uint8_t>(ends.client.is_v4() ? 8 : 128), 0, 1, Bytes(8, 0)}.bytes();
    EXPECT_FALSE(lets_go(framed(packet(ends.client, ends.server, ends.client.is_v4() ? 1 : 58, echo))));
  }
  Ip4 fragment;
  fragment.protocol = kUdp;
  fragment.fragment = 185;
  fragment.payload = question(both_families()[0]).transport();
  EXPECT_FALSE(lets_go(ethernet(0x0800, fragment.bytes())));
  EXPECT_FALSE(lets_go(Arp().bytes()));
  EXPECT_TRUE(counts().empty());
  EXPECT_TRUE(taken().empty());
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

TEST_F(Untracked, answers_and_errors_are_judged_by_what_the_groups_say_now) {
  const policy::TenantPolicy other = policy::compile(one_port({allow(kUdp, 54, 54)}));
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    const Datagram asked = question(ends);
    ASSERT_TRUE(lets_go(asked));
    enforce(other);
    EXPECT_FALSE(lets_go(asked.answer()));
    EXPECT_FALSE(answers(asked.answer()));
    EXPECT_FALSE(answers(error(ends, ends.client, asked.bytes())));
    EXPECT_FALSE(lets_go(asked));
    EXPECT_EQ(begins(asked), kShot);
    enforce(dns_);
    EXPECT_TRUE(answers(asked.answer()));
    EXPECT_TRUE(answers(error(ends, ends.client, asked.bytes())));
  }
}

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
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    const Datagram asked = question(ends);
    ASSERT_TRUE(lets_go(asked));
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
  }
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
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    const Datagram asked = question(ends);
    ASSERT_TRUE(lets_go(asked));
    // To port 769: its first byte would be the type "unreachable" of ICMP, "time exceeded" of ICMPv6.
    const Bytes segment = big_endian(53) + big_endian(0x0301) + Bytes(4, 0) + asked.bytes();
    EXPECT_FALSE(answers(framed(packet(ends.router, ends.client, kTcp, segment))));
  }
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

TEST_F(Untracked, a_flow_that_was_let_go_is_not_counted_again_when_conntrack_takes_it) {
  uint64_t flows = 0;
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    const Datagram asked = question(ends);
    ASSERT_TRUE(lets_go(asked));
    EXPECT_EQ(begins(asked), kPipe);
    EXPECT_EQ(begins(asked), kPipe);
    EXPECT_EQ(counts(), allowed(++flows));
    EXPECT_EQ(begins(question(ends, 40001)), kPipe) << "was not let go";
    EXPECT_EQ(counts(), allowed(++flows));
  }
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
  for (const Ends& ends : both_families()) {
    SCOPED_TRACE(ends.family);
    const Datagram asked = question(ends);
    ASSERT_TRUE(lets_go(asked));
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
  }
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

}  // namespace
}  // namespace sepal::test
