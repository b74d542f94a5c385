// act_csum: `action csum ip4h icmp tcp udp …`. Governed by linux/tc_act/tc_csum.h.
#include <linux/tc_act/tc_csum.h>

#include "tc/codec/actions.hpp"
#include "tc/codec/options.hpp"

namespace sepal::tc {

static_assert(kCsumIpv4Header == TCA_CSUM_UPDATE_FLAG_IPV4HDR && kCsumIcmp == TCA_CSUM_UPDATE_FLAG_ICMP &&
              kCsumTcp == TCA_CSUM_UPDATE_FLAG_TCP && kCsumUdp == TCA_CSUM_UPDATE_FLAG_UDP);

void encode_csum(netlink::MessageBuilder& message, const Csum& csum, const Common& common) {
  auto parms = with<tc_csum>(common);
  parms.update_flags = csum.flags;
  message.put_bytes(TCA_CSUM_PARMS, &parms, sizeof parms);
}

Result<DecodedKind> decode_csum(std::span<const uint8_t> options) {
  auto attrs = Options<TCA_CSUM_MAX>::parse(options);
  if (!attrs) return Unexpected(attrs.error());
  const auto parms = attrs->parms<tc_csum>(TCA_CSUM_PARMS);
  if (attrs->malformed()) return malformed_options("csum");
  const Common common = common_of(parms);
  if (!attrs->only({TCA_CSUM_PARMS, TCA_CSUM_TM, TCA_CSUM_PAD})) return not_modelled("csum", common, attrs->unknown());
  return DecodedKind{Csum{parms.update_flags}, common, attrs->unknown()};
}

}  // namespace sepal::tc
