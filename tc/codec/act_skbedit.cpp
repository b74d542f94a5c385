// act_skbedit, its mark only: `action skbedit mark M[/K]`. Host order. Governed by linux/tc_act/tc_skbedit.h.
#include <linux/tc_act/tc_skbedit.h>

#include "tc/codec/actions.hpp"
#include "tc/codec/options.hpp"

namespace sepal::tc {

void encode_skbedit(netlink::MessageBuilder& message, const SkbeditMark& skbedit, const Common& common) {
  const auto parms = with<tc_skbedit>(common);
  message.put_bytes(TCA_SKBEDIT_PARMS, &parms, sizeof parms);
  message.put_u32(TCA_SKBEDIT_MARK, skbedit.mark);
  if (skbedit.mask != 0xffffffff) message.put_u32(TCA_SKBEDIT_MASK, skbedit.mask);
}

Result<DecodedKind> decode_skbedit(std::span<const uint8_t> options) {
  auto attrs = Options<TCA_SKBEDIT_MAX>::parse(options);
  if (!attrs) return Unexpected(attrs.error());
  const auto parms = attrs->parms<tc_skbedit>(TCA_SKBEDIT_PARMS);
  const SkbeditMark skbedit{attrs->u32(TCA_SKBEDIT_MARK, 0), attrs->u32(TCA_SKBEDIT_MASK, 0xffffffff)};
  if (attrs->malformed()) return malformed_options("skbedit");
  const Common common = common_of(parms);
  // Priority, queue, packet type.
  if (!attrs->has(TCA_SKBEDIT_MARK) ||
      !attrs->only({TCA_SKBEDIT_PARMS, TCA_SKBEDIT_TM, TCA_SKBEDIT_PAD, TCA_SKBEDIT_MARK, TCA_SKBEDIT_MASK})) {
    return not_modelled("skbedit", common, attrs->unknown());
  }
  return DecodedKind{skbedit, common, attrs->unknown()};
}

}  // namespace sepal::tc
