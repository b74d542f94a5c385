// What tests of program sepal_policy stand on: the program loaded with a bpffs of its own, a network of one port, and
// what the program tells in its ring.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bpf/policies.hpp"
#include "bpf/ring.hpp"
#include "policy/compile.hpp"
#include "policy/judge.hpp"
#include "tests/bpf/bed.hpp"

namespace sepal::test {

inline int run_marked(int program, const Bytes& frame, uint32_t mark) {
  return run(program, frame, 1, {}, mark).verdict;
}

inline Bytes transport(const policy::Flow& flow) {
  if (flow.protocol == 6 || flow.protocol == 17) {
    return big_endian(40000) + big_endian(flow.detail) + Bytes(16, 0);
  }
  return big_endian(flow.detail) + Bytes(18, 0);
}

inline uint8_t& protocol_of(Ip4& packet) { return packet.protocol; }
inline uint8_t& protocol_of(Ip6& packet) { return packet.next_header; }

template <typename Packet>
Packet ip_carrying(const IpAddr& source, const IpAddr& destination, uint8_t protocol, const Bytes& payload) {
  Packet packet;
  protocol_of(packet) = protocol;
  packet.source = source;
  packet.destination = destination;
  packet.payload = payload;
  return packet;
}

// From the IP header on.
inline Bytes ip_packet(const IpAddr& source, const IpAddr& destination, uint8_t protocol, const Bytes& payload) {
  if (source.is_v4()) return ip_carrying<Ip4>(source, destination, protocol, payload).bytes();
  return ip_carrying<Ip6>(source, destination, protocol, payload).bytes();
}

inline Bytes framed(const Bytes& packet) { return ethernet(packet[0] >> 4U == 4 ? 0x0800 : 0x86dd, packet); }

inline Bytes frame_of(const policy::Flow& flow) {
  return framed(ip_packet(flow.source, flow.destination, flow.protocol, transport(flow)));
}

inline uint32_t mark_of(Vni vni, const policy::Flow& flow) {
  return vni.value() | (flow.from_peer ? SEPAL_MARK_FROM_PEER : 0U);
}

inline config::GroupRule allow(uint8_t protocol, uint16_t first, uint16_t last) {
  config::GroupRule rule;
  rule.protocol = protocol;
  rule.ports = {{first, last}};
  rule.remote.any = true;
  return rule;
}

inline config::GroupRule allow_tcp(uint16_t first, uint16_t last) { return allow(6, first, last); }

// Port web-0 with these rules, which lets nothing out.
inline policy::Network one_port(std::vector<config::GroupRule> ingress, Vni vni = Vni(100)) {
  config::SecurityGroup web;
  web.name = "web";
  web.ingress = std::move(ingress);
  return {
      vni, "blue", {web}, {{"web-0", {IpPrefix::host(ip("10.0.0.1")), IpPrefix::host(ip("fd00::1"))}, {"web"}}}, {}};
}

class PolicyProgram : public BedTest {
 protected:
  void SetUp() override {
    BedTest::SetUp();
    if (IsSkipped()) return;
    bpffs_.emplace();
    policies_.emplace(load());
  }
  bpf::Policies load() {
    auto loaded = bpf::Policies::load(bpffs_->place());
    if (!loaded) throw std::runtime_error(loaded.error().message());
    return std::move(*loaded);
  }
  // put, activate.
  void enforce(const policy::TenantPolicy& policy) {
    auto put = policies_->put(policy.tables.space, policy.tables.prefixes, policy.tables.choices);
    ASSERT_TRUE(put) << put.error().message();
    auto active = policies_->activate(policy.vni, policy.tables.space);
    ASSERT_TRUE(active) << active.error().message();
  }
  int verdict(const policy::Flow& flow, Vni vni = Vni(100)) {
    return run_marked(policies_->program().fd.get(), frame_of(flow), mark_of(vni, flow));
  }

  std::optional<Bpffs> bpffs_;
  std::optional<bpf::Policies> policies_;
};

class PolicyEvents : public PolicyProgram {
 protected:
  // What is in the ring now.
  std::vector<sepal_event> events() {
    if (!ring_) {
      auto opened = bpf::Ring::open(policies_->events());
      if (!opened) throw std::runtime_error(opened.error().message());
      ring_.emplace(std::move(*opened));
    }
    std::vector<sepal_event> events;
    const auto read = ring_->read(
        [&](std::span<const std::byte> record) {
          sepal_event event{};
          ASSERT_EQ(record.size(), sizeof event);
          std::memcpy(&event, record.data(), sizeof event);
          events.push_back(event);
        },
        100'000);
    EXPECT_TRUE(read);
    return events;
  }

  std::optional<bpf::Ring> ring_;
};

}  // namespace sepal::test
