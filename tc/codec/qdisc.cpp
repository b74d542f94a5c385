// clsact messages; see qdisc.hpp. `tc qdisc add|del dev X clsact`.
#include "tc/codec/qdisc.hpp"

#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "netlink/message.hpp"
#include "tc/codec/options.hpp"

namespace sepal::tc {
namespace {

Result<void> encode_clsact(std::vector<uint8_t>& out, uint16_t type, uint16_t flags, IfIndex device) {
  tcmsg tcm{};
  tcm.tcm_family = AF_UNSPEC;
  tcm.tcm_ifindex = static_cast<int>(device.value());
  tcm.tcm_parent = TC_H_CLSACT;
  tcm.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
  netlink::MessageBuilder message(out, type, static_cast<uint16_t>(NLM_F_REQUEST | flags), tcm);
  message.put_string(TCA_KIND, "clsact");
  return message.finish();
}

}  // namespace

Result<void> encode_clsact_add(std::vector<uint8_t>& out, IfIndex device) {
  return encode_clsact(out, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, device);
}
Result<void> encode_clsact_delete(std::vector<uint8_t>& out, IfIndex device) {
  return encode_clsact(out, RTM_DELQDISC, 0, device);
}
// qdisc_notify() multicasts what it was asked for, and sends it to whoever asked only with NLM_F_ECHO.
Result<void> encode_clsact_get(std::vector<uint8_t>& out, IfIndex device) {
  return encode_clsact(out, RTM_GETQDISC, NLM_F_ECHO, device);
}
Result<void> encode_qdisc_dump(std::vector<uint8_t>& out) {
  netlink::MessageBuilder message(out, RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, tcmsg{});
  return message.finish();
}

Result<DecodedQdisc> decode_qdisc(std::span<const uint8_t> message) {
  auto header = netlink::read_nlmsghdr(message);
  if (!header) return Unexpected(header.error());
  if (header->nlmsg_type != RTM_NEWQDISC && header->nlmsg_type != RTM_DELQDISC) {
    return fail(Errc::protocol, "netlink message of type " + std::to_string(header->nlmsg_type) + " is no qdisc");
  }
  tcmsg tcm{};
  auto region = netlink::read_fixed_header(message, tcm);
  if (!region) return Unexpected(region.error());
  auto attrs = Options<TCA_MAX>::parse(*region);
  if (!attrs) return Unexpected(while_doing(attrs.error(), "decode qdisc"));
  return DecodedQdisc{IfIndex(static_cast<uint32_t>(tcm.tcm_ifindex)), tcm.tcm_handle, tcm.tcm_parent,
                      attrs->string(TCA_KIND)};
}

}  // namespace sepal::tc
