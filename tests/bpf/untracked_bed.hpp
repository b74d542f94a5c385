// What tests of datagrams that go past conntrack stand on: guests and their datagrams in both families, the program in
// its modes, and the map that knows what was let go.
#pragma once

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "tests/bpf/policy_bed.hpp"

namespace sepal::test {

inline constexpr Vni kBlue(100);
inline constexpr Vni kGreen(200);
inline constexpr uint8_t kTcp = 6;
inline constexpr uint8_t kUdp = 17;
inline constexpr std::chrono::seconds kBefore(20);  // an answer is one no more; a slow machine has time for its test
inline constexpr std::chrono::seconds kAfter(31);

// One pair of guests in each family: the server is port web-0, with groups; the others have none.
struct Ends {
  const char* family;
  IpAddr client;
  IpAddr server;
  IpAddr other;
  IpAddr router;
};
inline std::array<Ends, 2> both_families() {
  return {Ends{"IPv4", ip("10.9.9.9"), ip("10.0.0.1"), ip("10.9.9.8"), ip("192.0.2.254")},
          Ends{"IPv6", ip("fd00:9::9"), ip("fd00::1"), ip("fd00:9::8"), ip("2001:db8::fe")}};
}

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
  [[nodiscard]] Bytes bytes() const { return ip_packet(source, destination, protocol, transport()); }
};

inline Datagram question(const Ends& ends, uint16_t source_port = 40000) {
  return {ends.client, ends.server, source_port};
}

// The same as an IP packet, to be made unusual.
template <typename Packet>
Packet question_in(const Ends& ends, uint16_t source_port = 40000) {
  return ip_carrying<Packet>(ends.client, ends.server, kUdp, question(ends, source_port).transport());
}

inline std::vector<uint8_t> errors_of(const Ends& ends) {
  if (ends.client.is_v4()) return {3, 11, 12};
  return {1, 2, 3, 4};
}

// Tells `receiver` of a packet; comes from a router on the way.
inline Bytes error(const Ends& ends, const IpAddr& receiver, const Bytes& quoted, std::optional<uint8_t> type = {}) {
  const auto protocol = static_cast<uint8_t>(receiver.is_v4() ? 1 : 58);
  return framed(
      ip_packet(ends.router, receiver, protocol, Icmp{type.value_or(errors_of(ends).front()), 0, 0, quoted}.bytes()));
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
  int begins(const Datagram& it, uint32_t also_marked = 0) {
    return run_marked(policies_->program().fd.get(), framed(it.bytes()), kBlue.value() | also_marked);
  }
  // In each family: the question is let go, and the case goes on from there.
  void once_asked(const std::function<void(const Ends&, const Datagram&)>& then) {
    for (const Ends& ends : both_families()) {
      SCOPED_TRACE(ends.family);
      const Datagram asked = question(ends);
      ASSERT_TRUE(lets_go(asked));
      then(ends, asked);
      if (HasFatalFailure()) return;
    }
  }

  std::vector<bpf::RuleCount> counts() {
    auto counts = policies_->counts();
    if (!counts) throw std::runtime_error(counts.error().message());
    return *counts;
  }
  // So many flows that port 53 was allowed, and nothing else.
  [[nodiscard]] std::vector<bpf::RuleCount> allowed(uint64_t flows) const {
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
  // The one note there is, from the first place of its bucket to this one.
  void move_to(size_t place) {
    const std::vector<uint32_t> numbers = taken();
    ASSERT_EQ(numbers.size(), 1U);
    sepal_untracked_bucket moved = bucket(numbers[0]);
    ASSERT_NE(moved.flows[0].since, 0U);
    std::swap(moved.flows[0], moved.flows[place]);
    put(numbers[0], moved);
  }
  // As if everything had been so much longer ago.
  void age(std::chrono::seconds by) {
    for (const uint32_t number : taken()) {
      sepal_untracked_bucket older = bucket(number);
      for (sepal_untracked_flow& flow : older.flows)
        if (flow.since != 0) flow.since -= static_cast<uint64_t>(std::chrono::nanoseconds(by).count());
      put(number, older);
    }
  }
  void forget_all() {
    ASSERT_TRUE(policies_->forget_untracked([](Vni, const IpAddr&, const IpAddr&) { return true; }));
  }

  const policy::TenantPolicy dns_ = policy::compile(one_port({allow(kUdp, 53, 53)}));
  UniqueFd map_;
};

}  // namespace sepal::test
