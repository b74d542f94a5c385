// Words for chains and drop reasons: what `sepalctl show`, lint and the documents call them.
#include "tc/pipeline/pipeline.hpp"

namespace sepal::tc {

std::string to_string(const ChainId& chain) {
  std::string text = chain.lane == Lane::uplink ? "uplink g" : "g";
  text += std::to_string(static_cast<unsigned>(chain.group));
  if (chain.vni != Vni()) text += " vni " + std::to_string(chain.vni.value());
  return text;
}

std::string_view to_string(DropReason reason) {
  switch (reason) {
    case DropReason::none: return "";
    case DropReason::spoofed: return "spoofed";
    case DropReason::unknown_vni: return "unknown-vni";
    case DropReason::unknown_vlan: return "unknown-vlan";
    case DropReason::outside_slice: return "outside-slice";
    case DropReason::invalid: return "invalid";
    case DropReason::untracked: return "untracked";
    case DropReason::blackhole: return "blackhole";
    case DropReason::no_route: return "no-route";
    case DropReason::waiting: return "waiting";
    case DropReason::hairpin: return "hairpin";
    case DropReason::unknown_mac: return "unknown-mac";
    case DropReason::multicast: return "multicast";
    case DropReason::ttl_expired: return "ttl-expired";
    case DropReason::bad_fragment: return "bad-fragment";
    case DropReason::not_answered: return "not-answered";
    case DropReason::no_syn: return "no-syn";
    case DropReason::no_nat: return "no-nat";
    case DropReason::rogue_service: return "rogue-service";
    case DropReason::too_big: return "too-big";
    case DropReason::too_many_connections: return "too-many-connections";
    case DropReason::denied: return "denied";
    case DropReason::unpublished: return "unpublished";
    case DropReason::rate_limited: return "rate-limited";
    case DropReason::conntrack: return "conntrack";
    case DropReason::not_sent: return "not-sent";
  }
  return "";
}

}  // namespace sepal::tc
