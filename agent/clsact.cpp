// clsact with our mark. `tc qdisc add dev X clsact; tc filter add dev X egress chain 0xfffffff prio 1 handle 1 protocol
// all flower skip_hw action pass cookie …`. RuleId speaks of ingress only, so the mark's messages are the codec's with
// the parent turned to egress.
#include "agent/clsact.hpp"

#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <array>
#include <cstring>

#include "agent/filters.hpp"
#include "tc/codec/flower.hpp"
#include "tc/codec/qdisc.hpp"

namespace sepal::agent {
namespace {

constexpr uint32_t kEgressParent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);

void turn_to_egress(netlink::Bytes& request) {
  tcmsg header{};
  std::memcpy(&header, request.data() + NLMSG_HDRLEN, sizeof header);
  header.tcm_parent = kEgressParent;
  std::memcpy(request.data() + NLMSG_HDRLEN, &header, sizeof header);
}

tc::Rule mark_rule(IfIndex device) {
  tc::Rule mark;
  mark.id = {device, kClsactMarkChain, 1, tc::kEthAll, 1};
  mark.spec.actions.push_back({.kind = tc::Gact{{tc::Control::pass, 0}}});
  mark.spec.skip_hw = true;
  return mark;
}

tc::Cookie mark_cookie(const tc::Rule& mark, uint16_t instance) {
  tc::Cookie cookie;
  cookie.instance = instance;
  cookie.content = tc::content_hash(mark.spec, mark.id.protocol);
  return cookie;
}

Result<void> send_one(netlink::Transport& route, netlink::Bytes request) {
  Result<void> result;
  auto transacted =
      route.transact(request, [&result](size_t /*i*/, const netlink::Answer& answer) { result = answer; });
  return transacted ? result : transacted;
}

Result<std::vector<Filter>> dump_egress(netlink::Transport& route, IfIndex device) {
  netlink::Bytes request;
  if (auto put = tc::encode_dump(request, device, std::nullopt, false); !put) return Unexpected(put.error());
  turn_to_egress(request);
  std::vector<Filter> filters;
  auto dumped = route.dump(std::move(request), [&filters](netlink::BytesView message) -> Result<void> {
    auto decoded = tc::decode_filter(message);
    if (!decoded) return Unexpected(decoded.error());
    if (!decoded->is_head()) filters.push_back({decoded->rule, decoded->state, decoded->kind});
    return {};
  });
  if (!dumped) return Unexpected(dumped.error());
  return filters;
}

}  // namespace

// Both in one datagram, which the kernel works off before send returns: whenever we die, a clsact of ours has its mark.
Result<bool> attach_clsact(Kernel& kernel, IfIndex device, uint16_t instance) {
  netlink::Bytes requests;
  if (auto put = tc::encode_clsact_add(requests, device); !put) return Unexpected(put.error());
  const tc::Rule mark = mark_rule(device);
  netlink::Bytes marking;
  auto put = append_write(marking, Write::add, mark, mark_cookie(mark, instance), kernel.slow_path);
  if (!put) return Unexpected(put.error());
  turn_to_egress(marking);
  requests.insert(requests.end(), marking.begin(), marking.end());
  std::array<netlink::Answer, 2> answers;
  auto transacted =
      kernel.route.transact(requests, [&answers](size_t i, const netlink::Answer& answer) { answers.at(i) = answer; });
  if (!transacted) return Unexpected(transacted.error());
  const auto& [added, marked] = answers;
  if (!added && added.error().code == Errc::exists) {
    // Somebody was faster than our look: theirs, so the mark goes again.
    netlink::Bytes unmarking;
    if (auto removal = append_removal(unmarking, mark.id); !removal) return Unexpected(removal.error());
    turn_to_egress(unmarking);
    if (marked) (void)send_one(kernel.route, std::move(unmarking));
    return false;
  }
  if (!added) return Unexpected(added.error());
  if (!marked) return Unexpected(while_doing(marked.error(), "mark the clsact as ours"));
  return true;
}

Result<bool> detach_clsact(Kernel& kernel, IfIndex device, uint16_t instance) {
  const tc::Cookie mark = mark_cookie(mark_rule(device), instance);
  auto egress = dump_egress(kernel.route, device);
  if (!egress) return Unexpected(egress.error());
  const bool only_the_mark =
      egress->size() == 1 && egress->front().rule.id.chain == kClsactMarkChain && egress->front().state.cookie == mark;
  if (!only_the_mark) return false;
  auto ingress = dump_filters(kernel.route, device);
  if (!ingress) return Unexpected(ingress.error());
  if (!ingress->empty()) return false;
  netlink::Bytes request;
  if (auto put = tc::encode_clsact_delete(request, device); !put) return Unexpected(put.error());
  if (auto deleted = send_one(kernel.route, std::move(request)); !deleted && deleted.error().code != Errc::not_found)
    return Unexpected(deleted.error());
  return true;
}

}  // namespace sepal::agent
