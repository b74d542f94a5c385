// act_tunnel_key: `action tunnel_key set src_ip A dst_ip B id N dst_port P [tos T] [ttl L] nocsum|csum`, `action
// tunnel_key unset`. TCA_TUNNEL_KEY_NO_CSUM is inverted, and absent it means a checksum. Governed by
// linux/tc_act/tc_tunnel_key.h (whose "be64" of the key id is wrong: the kernel takes a be32).
#include <linux/tc_act/tc_tunnel_key.h>

#include "tc/codec/actions.hpp"
#include "tc/codec/options.hpp"

namespace sepal::tc {

void encode_tunnel_set(netlink::MessageBuilder& message, const TunnelSet& tunnel, const Common& common) {
  auto parms = with<tc_tunnel_key>(common);
  parms.t_action = TCA_TUNNEL_KEY_ACT_SET;
  message.put_bytes(TCA_TUNNEL_KEY_PARMS, &parms, sizeof parms);
  const bool v4 = tunnel.source.is_v4();
  const uint16_t source = v4 ? TCA_TUNNEL_KEY_ENC_IPV4_SRC : TCA_TUNNEL_KEY_ENC_IPV6_SRC;
  const uint16_t destination = v4 ? TCA_TUNNEL_KEY_ENC_IPV4_DST : TCA_TUNNEL_KEY_ENC_IPV6_DST;
  message.put_bytes(source, tunnel.source.bytes.data(), tunnel.source.size());
  message.put_bytes(destination, tunnel.destination.bytes.data(), tunnel.destination.size());
  message.put_be32(TCA_TUNNEL_KEY_ENC_KEY_ID, tunnel.key_id);
  if (tunnel.dst_port != 0) message.put_be16(TCA_TUNNEL_KEY_ENC_DST_PORT, tunnel.dst_port);
  if (tunnel.tos != 0) message.put_u8(TCA_TUNNEL_KEY_ENC_TOS, tunnel.tos);
  if (tunnel.ttl != 0) message.put_u8(TCA_TUNNEL_KEY_ENC_TTL, tunnel.ttl);
  message.put_u8(TCA_TUNNEL_KEY_NO_CSUM, tunnel.checksum ? 0 : 1);
}

void encode_tunnel_unset(netlink::MessageBuilder& message, const Common& common) {
  auto parms = with<tc_tunnel_key>(common);
  parms.t_action = TCA_TUNNEL_KEY_ACT_RELEASE;
  message.put_bytes(TCA_TUNNEL_KEY_PARMS, &parms, sizeof parms);
}

Result<DecodedKind> decode_tunnel_key(std::span<const uint8_t> options) {
  auto attrs = Options<TCA_TUNNEL_KEY_MAX>::parse(options);
  if (!attrs) return Unexpected(attrs.error());
  const auto parms = attrs->parms<tc_tunnel_key>(TCA_TUNNEL_KEY_PARMS);
  const Common common = common_of(parms);
  if (attrs->malformed()) return malformed_options("tunnel_key");
  if (parms.t_action == TCA_TUNNEL_KEY_ACT_RELEASE) {
    // iproute2 says NO_CSUM 0 here as well; it means nothing and the kernel forgets it.
    if (!attrs->only({TCA_TUNNEL_KEY_PARMS, TCA_TUNNEL_KEY_TM, TCA_TUNNEL_KEY_PAD, TCA_TUNNEL_KEY_NO_CSUM})) {
      return not_modelled("tunnel_key", common, attrs->unknown());
    }
    return DecodedKind{TunnelUnset{}, common, attrs->unknown()};
  }
  const bool v4 = attrs->has(TCA_TUNNEL_KEY_ENC_IPV4_SRC) && attrs->has(TCA_TUNNEL_KEY_ENC_IPV4_DST);
  const bool v6 = attrs->has(TCA_TUNNEL_KEY_ENC_IPV6_SRC) && attrs->has(TCA_TUNNEL_KEY_ENC_IPV6_DST);
  // Tunnel options (Geneve, VXLAN group policy) and keys without an id are other encapsulations than ours.
  if (parms.t_action != TCA_TUNNEL_KEY_ACT_SET || v4 == v6 || !attrs->has(TCA_TUNNEL_KEY_ENC_KEY_ID) ||
      !attrs->only({TCA_TUNNEL_KEY_PARMS, TCA_TUNNEL_KEY_TM, TCA_TUNNEL_KEY_PAD, TCA_TUNNEL_KEY_ENC_KEY_ID,
                    TCA_TUNNEL_KEY_ENC_IPV4_SRC, TCA_TUNNEL_KEY_ENC_IPV4_DST, TCA_TUNNEL_KEY_ENC_IPV6_SRC,
                    TCA_TUNNEL_KEY_ENC_IPV6_DST, TCA_TUNNEL_KEY_ENC_DST_PORT, TCA_TUNNEL_KEY_NO_CSUM,
                    TCA_TUNNEL_KEY_ENC_TOS, TCA_TUNNEL_KEY_ENC_TTL})) {
    return not_modelled("tunnel_key", common, attrs->unknown());
  }
  TunnelSet tunnel;
  const Family family = v4 ? Family::ipv4 : Family::ipv6;
  tunnel.source = attrs->address(v4 ? TCA_TUNNEL_KEY_ENC_IPV4_SRC : TCA_TUNNEL_KEY_ENC_IPV6_SRC, family);
  tunnel.destination = attrs->address(v4 ? TCA_TUNNEL_KEY_ENC_IPV4_DST : TCA_TUNNEL_KEY_ENC_IPV6_DST, family);
  tunnel.key_id = attrs->be32(TCA_TUNNEL_KEY_ENC_KEY_ID, 0);
  tunnel.dst_port = attrs->be16(TCA_TUNNEL_KEY_ENC_DST_PORT, 0);
  tunnel.tos = attrs->u8(TCA_TUNNEL_KEY_ENC_TOS, 0);
  tunnel.ttl = attrs->u8(TCA_TUNNEL_KEY_ENC_TTL, 0);
  tunnel.checksum = attrs->u8(TCA_TUNNEL_KEY_NO_CSUM, 0) == 0;
  if (attrs->malformed()) return malformed_options("tunnel_key");
  return DecodedKind{tunnel, common, attrs->unknown()};
}

}  // namespace sepal::tc
