// act_gact: `action drop | pass | pipe | goto chain N`. Governed by linux/tc_act/tc_gact.h.
#include <linux/tc_act/tc_gact.h>

#include "tc/codec/actions.hpp"
#include "tc/codec/options.hpp"

namespace sepal::tc {

void encode_gact(netlink::MessageBuilder& message, const Gact&, const Common& common) {
  const auto parms = with<tc_gact>(common);
  message.put_bytes(TCA_GACT_PARMS, &parms, sizeof parms);
}

Result<DecodedKind> decode_gact(std::span<const uint8_t> options) {
  auto attrs = Options<TCA_GACT_MAX>::parse(options);
  if (!attrs) return Unexpected(attrs.error());
  const auto parms = attrs->parms<tc_gact>(TCA_GACT_PARMS);
  if (attrs->malformed()) return malformed_options("gact");
  const Common common = common_of(parms);
  // TCA_GACT_PROB: another verdict for some of the packets.
  if (!attrs->only({TCA_GACT_PARMS, TCA_GACT_TM, TCA_GACT_PAD})) return not_modelled("gact", common, attrs->unknown());
  return DecodedKind{Gact{verdict_from_wire(parms.action)}, common, attrs->unknown()};
}

}  // namespace sepal::tc
