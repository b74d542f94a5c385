// act_ct: `action ct [commit] [force] zone Z [mark M/K] [nat [src|dst addr A[-B] [port F-L]]]`, `action ct clear`. Zone
// and mark are in host order, ports in network order. The only kind here that the kernel parses strictly: attributes of
// the wrong size and nests without NLA_F_NESTED are refused. Governed by linux/tc_act/tc_ct.h and net/sched/act_ct.c.
#include <linux/tc_act/tc_ct.h>

#include "tc/codec/actions.hpp"
#include "tc/codec/options.hpp"

namespace sepal::tc {

void encode_ct(netlink::MessageBuilder& message, const Ct& ct, const Common& common) {
  const auto parms = with<tc_ct>(common);
  message.put_bytes(TCA_CT_PARMS, &parms, sizeof parms);
  uint16_t flags = 0;
  if (ct.commit) flags |= TCA_CT_ACT_COMMIT;
  if (ct.force) flags |= TCA_CT_ACT_FORCE;
  if (ct.clear) flags |= TCA_CT_ACT_CLEAR;
  if (ct.nat) flags |= TCA_CT_ACT_NAT;
  if (ct.direction == Ct::Direction::src) flags |= TCA_CT_ACT_NAT_SRC;
  if (ct.direction == Ct::Direction::dst) flags |= TCA_CT_ACT_NAT_DST;
  message.put_u16(TCA_CT_ACTION, flags);
  if (ct.clear) return;
  message.put_u16(TCA_CT_ZONE, ct.zone.value());
  if (ct.mark_mask != 0) {
    message.put_u32(TCA_CT_MARK, ct.mark);
    message.put_u32(TCA_CT_MARK_MASK, ct.mark_mask);
  }
  if (ct.nat_first && ct.nat_last) {
    const bool v4 = ct.nat_first->is_v4();
    message.put_bytes(v4 ? TCA_CT_NAT_IPV4_MIN : TCA_CT_NAT_IPV6_MIN, ct.nat_first->bytes.data(), ct.nat_first->size());
    message.put_bytes(v4 ? TCA_CT_NAT_IPV4_MAX : TCA_CT_NAT_IPV6_MAX, ct.nat_last->bytes.data(), ct.nat_last->size());
  }
  if (ct.nat_ports) {
    message.put_be16(TCA_CT_NAT_PORT_MIN, ct.nat_ports->first);
    message.put_be16(TCA_CT_NAT_PORT_MAX, ct.nat_ports->last);
  }
}

Result<DecodedKind> decode_ct(std::span<const uint8_t> options) {
  auto attrs = Options<TCA_CT_MAX>::parse(options);
  if (!attrs) return Unexpected(attrs.error());
  const auto parms = attrs->parms<tc_ct>(TCA_CT_PARMS);
  const Common common = common_of(parms);
  const uint16_t flags = attrs->u16(TCA_CT_ACTION, 0);
  constexpr uint16_t kKnown = TCA_CT_ACT_COMMIT | TCA_CT_ACT_FORCE | TCA_CT_ACT_CLEAR | TCA_CT_ACT_NAT |
                              TCA_CT_ACT_NAT_SRC | TCA_CT_ACT_NAT_DST;
  constexpr uint16_t kBoth = TCA_CT_ACT_NAT_SRC | TCA_CT_ACT_NAT_DST;
  const bool v4 = attrs->has(TCA_CT_NAT_IPV4_MIN);
  const bool v6 = attrs->has(TCA_CT_NAT_IPV6_MIN);
  // Labels, and helpers of later kernels.
  const bool modelled = (flags & ~kKnown) == 0 && (flags & kBoth) != kBoth && !(v4 && v6) &&
                        attrs->only({TCA_CT_PARMS, TCA_CT_TM, TCA_CT_PAD, TCA_CT_ACTION, TCA_CT_ZONE, TCA_CT_MARK,
                                     TCA_CT_MARK_MASK, TCA_CT_NAT_IPV4_MIN, TCA_CT_NAT_IPV4_MAX, TCA_CT_NAT_IPV6_MIN,
                                     TCA_CT_NAT_IPV6_MAX, TCA_CT_NAT_PORT_MIN, TCA_CT_NAT_PORT_MAX});
  Ct ct;
  ct.verdict = verdict_from_wire(parms.action);
  ct.commit = (flags & TCA_CT_ACT_COMMIT) != 0;
  ct.force = (flags & TCA_CT_ACT_FORCE) != 0;
  ct.clear = (flags & TCA_CT_ACT_CLEAR) != 0;
  ct.nat = (flags & TCA_CT_ACT_NAT) != 0;
  if ((flags & TCA_CT_ACT_NAT_SRC) != 0) ct.direction = Ct::Direction::src;
  if ((flags & TCA_CT_ACT_NAT_DST) != 0) ct.direction = Ct::Direction::dst;
  ct.zone = Zone(attrs->u16(TCA_CT_ZONE, 0));
  if (attrs->has(TCA_CT_MARK)) {
    ct.mark = attrs->u32(TCA_CT_MARK, 0);
    ct.mark_mask = attrs->u32(TCA_CT_MARK_MASK, 0xffffffff);
  }
  if (v4 || v6) {
    const Family family = v4 ? Family::ipv4 : Family::ipv6;
    const uint16_t max = v4 ? TCA_CT_NAT_IPV4_MAX : TCA_CT_NAT_IPV6_MAX;
    ct.nat_first = attrs->address(v4 ? TCA_CT_NAT_IPV4_MIN : TCA_CT_NAT_IPV6_MIN, family);
    ct.nat_last = attrs->has(max) ? attrs->address(max, family) : *ct.nat_first;
  }
  if (attrs->has(TCA_CT_NAT_PORT_MIN)) {
    const uint16_t first = attrs->be16(TCA_CT_NAT_PORT_MIN, 0);
    ct.nat_ports = PortRange{first, attrs->be16(TCA_CT_NAT_PORT_MAX, first)};
  }
  if (attrs->malformed()) return malformed_options("ct");
  if (!modelled) return not_modelled("ct", common, attrs->unknown());
  return DecodedKind{ct, common, attrs->unknown()};
}

}  // namespace sepal::tc
