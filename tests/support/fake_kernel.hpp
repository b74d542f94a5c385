// An rtnetlink kernel in memory behind the Transport: devices, addresses, neighbours, clsact qdiscs and filters, kept
// as the bytes they came in, with the kernel's own errors for what is there already, not there, or misplaced. Filters
// are not understood beyond place, kind, and what a terse dump leaves out. Misbehaves on request.
#pragma once

#include <linux/rtnetlink.h>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "netlink/links.hpp"
#include "netlink/routes.hpp"
#include "netlink/transport.hpp"

namespace sepal::test {

// Where a filter stands.
struct FilterPlace {
  IfIndex device;
  uint32_t parent = 0;  // 0xfffffff2: clsact ingress
  uint32_t chain = 0;
  uint16_t prio = 0;
  uint32_t handle = 0;
  auto operator<=>(const FilterPlace&) const = default;
};

struct StoredFilter {
  uint16_t protocol = 0;  // ETH_P_*, host order
  std::string kind;
  netlink::Bytes attributes;  // everything behind the tcmsg, as it was sent
  uint32_t hardware = 0;      // TCA_CLS_FLAGS_IN_HW or _NOT_IN_HW, on devices with an eSwitch; 0: a plain device
  uint32_t packets = 0;       // what its last action tells
};

// An action that is an object of its own.
struct ActionPlace {
  std::string kind;
  uint32_t index = 0;
  auto operator<=>(const ActionPlace&) const = default;
};

struct StoredAction {
  netlink::Bytes options;  // the insides of TCA_ACT_OPTIONS, TCA_ACT_FLAGS, TCA_ACT_COOKIE as they were sent
  netlink::Bytes flags;
  netlink::Bytes cookie;
};

class FakeKernel : public netlink::Transport {
 public:
  // --- the world, to be set up and looked at freely
  std::map<IfIndex, netlink::Link> links;
  std::vector<netlink::Address> addresses;
  std::map<std::pair<IfIndex, IpAddr>, netlink::Neighbour> neighbours;
  // Where packets to an address go. An address that is not named here is on the link of the device called "uplink", if
  // there is one; else it is unreachable.
  std::map<IpAddr, netlink::RouteAnswer> routes;
  std::set<IfIndex> clsact;
  std::map<FilterPlace, StoredFilter> filters;
  std::map<ActionPlace, StoredAction> actions;
  [[nodiscard]] std::map<ActionPlace, int> bound() const;  // how many filters refer to each
  unsigned made_by_filters = 0;  // references to actions that were not there, which then are the filter's own

  // Adds a device that is up and returns its index, counting from 1.
  IfIndex add_link(const std::string& name, const std::string& kind = "veth");

  // --- misbehaviour; writes are counted from 1 on, over the kernel's life
  struct Refusal {
    int error = 0;
    std::string ext_ack;
  };
  std::map<uint64_t, Refusal> refuse_write;                          // the n-th write fails so and changes nothing
  std::function<std::optional<Refusal>(netlink::BytesView)> refuse;  // a judgement on each write's bytes
  // The NIC's judgement on a rule that may be in hardware (no skip_hw, a device with a switch id or a vxlan device):
  // refused, it stands all the same, and the driver's words come with the answer.
  std::function<std::optional<Refusal>(netlink::BytesView)> refuse_in_hardware;
  uint64_t break_at_write = 0;   // the connection fails instead of the n-th write: nothing from there on arrives
  unsigned interrupt_dumps = 0;  // that many dumps end as interrupted
  std::function<void()> before_each_write;

  // --- what was asked of it
  std::vector<netlink::Bytes> written;  // every write, refused ones too, in order
  uint64_t dumps = 0;
  uint64_t route_lookups = 0;

  Result<void> transact(netlink::Bytes& requests,
                        const std::function<void(size_t, const netlink::Answer&)>& answered) override;
  Result<void> dump(netlink::Bytes request, const netlink::MessageSink& sink) override;
  Result<void> get(netlink::Bytes request, const netlink::MessageSink& sink) override;
  Result<std::string> remark(netlink::Bytes request) override;
  [[nodiscard]] uint64_t writes() const override { return written.size(); }

 private:
  using BytesView = netlink::BytesView;
  netlink::Answer handle(uint16_t type, uint16_t flags, BytesView message);
  netlink::Answer write(BytesView message);
  netlink::Answer new_link(uint16_t flags, BytesView message);
  netlink::Answer delete_link(BytesView message);
  netlink::Answer use_neighbour(BytesView message);
  netlink::Answer new_qdisc(uint16_t flags, BytesView message);
  netlink::Answer delete_qdisc(BytesView message);
  netlink::Answer new_filter(uint16_t flags, BytesView message);
  netlink::Answer offer_to_nic(BytesView message, StoredFilter& filter);
  netlink::Answer delete_filter(BytesView message);
  netlink::Answer new_action(uint16_t flags, BytesView message);
  netlink::Answer delete_action(BytesView message);
  netlink::Answer bind_actions(BytesView attributes);
  Result<void> dump_filters(BytesView message, const netlink::MessageSink& sink) const;
  Result<void> get_filter(BytesView message, const netlink::MessageSink& sink) const;
  Result<void> dump_actions(BytesView message, const netlink::MessageSink& sink) const;
  netlink::Answer show_route(BytesView message, const netlink::MessageSink& sink);
  [[nodiscard]] netlink::Link* find_link(BytesView message);
  void forget_device(IfIndex device);

  std::string words_;  // of the NIC, on the write being carried out
};

// The messages a kernel would show them as.
netlink::Bytes link_message(const netlink::Link& link);
netlink::Bytes filter_message(const FilterPlace& place, const StoredFilter& filter, bool terse);

}  // namespace sepal::test
