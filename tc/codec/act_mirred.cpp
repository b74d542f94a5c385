// act_mirred: `action mirred egress|ingress redirect|mirror dev X`. Governed by linux/tc_act/tc_mirred.h.
#include <linux/tc_act/tc_mirred.h>

#include "tc/codec/actions.hpp"
#include "tc/codec/options.hpp"

namespace sepal::tc {

void encode_mirred(netlink::MessageBuilder& message, const Mirred& mirred, const Common& common) {
  auto parms = with<tc_mirred>(common);
  if (mirred.ingress) {
    parms.eaction = mirred.mirror ? TCA_INGRESS_MIRROR : TCA_INGRESS_REDIR;
  } else {
    parms.eaction = mirred.mirror ? TCA_EGRESS_MIRROR : TCA_EGRESS_REDIR;
  }
  parms.ifindex = mirred.device.value();
  message.put_bytes(TCA_MIRRED_PARMS, &parms, sizeof parms);
}

Result<DecodedKind> decode_mirred(std::span<const uint8_t> options) {
  auto attrs = Options<TCA_MIRRED_MAX>::parse(options);
  if (!attrs) return Unexpected(attrs.error());
  const auto parms = attrs->parms<tc_mirred>(TCA_MIRRED_PARMS);
  if (attrs->malformed()) return malformed_options("mirred");
  const Common common = common_of(parms);
  Mirred mirred;
  mirred.device = IfIndex(parms.ifindex);  // 0 once the device is gone
  switch (parms.eaction) {
    case TCA_EGRESS_REDIR: break;
    case TCA_EGRESS_MIRROR: mirred.mirror = true; break;
    case TCA_INGRESS_REDIR: mirred.ingress = true; break;
    case TCA_INGRESS_MIRROR: mirred.ingress = mirred.mirror = true; break;
    default: return not_modelled("mirred", common, attrs->unknown());
  }
  if (!attrs->only({TCA_MIRRED_PARMS, TCA_MIRRED_TM, TCA_MIRRED_PAD})) {
    return not_modelled("mirred", common, attrs->unknown());
  }
  return DecodedKind{mirred, common, attrs->unknown()};
}

}  // namespace sepal::tc
