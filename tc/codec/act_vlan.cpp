// act_vlan: `action vlan pop`, `action vlan push|modify id N protocol P [priority Q]`. The id is in host order, the
// protocol in network order. Governed by linux/tc_act/tc_vlan.h.
#include <linux/tc_act/tc_vlan.h>

#include "tc/codec/actions.hpp"
#include "tc/codec/options.hpp"

namespace sepal::tc {

void encode_vlan(netlink::MessageBuilder& message, const VlanAction& vlan, const Common& common) {
  auto parms = with<tc_vlan>(common);
  switch (vlan.kind) {
    case VlanAction::Kind::pop: parms.v_action = TCA_VLAN_ACT_POP; break;
    case VlanAction::Kind::push: parms.v_action = TCA_VLAN_ACT_PUSH; break;
    case VlanAction::Kind::modify: parms.v_action = TCA_VLAN_ACT_MODIFY; break;
  }
  message.put_bytes(TCA_VLAN_PARMS, &parms, sizeof parms);
  if (vlan.kind == VlanAction::Kind::pop) return;
  message.put_u16(TCA_VLAN_PUSH_VLAN_ID, vlan.id.value());
  message.put_be16(TCA_VLAN_PUSH_VLAN_PROTOCOL, vlan.protocol);
  message.put_u8(TCA_VLAN_PUSH_VLAN_PRIORITY, vlan.priority);
}

Result<DecodedKind> decode_vlan(std::span<const uint8_t> options) {
  auto attrs = Options<TCA_VLAN_MAX>::parse(options);
  if (!attrs) return Unexpected(attrs.error());
  const auto parms = attrs->parms<tc_vlan>(TCA_VLAN_PARMS);
  VlanAction vlan;
  const Common common = common_of(parms);
  bool modelled = true;
  switch (parms.v_action) {
    case TCA_VLAN_ACT_POP: break;
    case TCA_VLAN_ACT_PUSH: vlan.kind = VlanAction::Kind::push; break;
    case TCA_VLAN_ACT_MODIFY:
      vlan.kind = VlanAction::Kind::modify;
      modelled = attrs->has(TCA_VLAN_PUSH_VLAN_PRIORITY);  // without it the packet's priority stays
      break;
    default: modelled = false;  // pop_eth, push_eth
  }
  if (modelled && vlan.kind != VlanAction::Kind::pop) {
    vlan.id = Vid(attrs->u16(TCA_VLAN_PUSH_VLAN_ID, 0));
    vlan.protocol = attrs->be16(TCA_VLAN_PUSH_VLAN_PROTOCOL, kEthVlan);
    vlan.priority = attrs->u8(TCA_VLAN_PUSH_VLAN_PRIORITY, 0);
  }
  if (attrs->malformed()) return malformed_options("vlan");
  modelled = modelled && attrs->only({TCA_VLAN_PARMS, TCA_VLAN_TM, TCA_VLAN_PAD, TCA_VLAN_PUSH_VLAN_ID,
                                      TCA_VLAN_PUSH_VLAN_PROTOCOL, TCA_VLAN_PUSH_VLAN_PRIORITY});
  if (!modelled) return not_modelled("vlan", common, attrs->unknown());
  return DecodedKind{vlan, common, attrs->unknown()};
}

}  // namespace sepal::tc
