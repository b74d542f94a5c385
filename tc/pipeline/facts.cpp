// Facts in one number.
#include "tc/pipeline/facts.hpp"

#include "base/digest.hpp"

namespace sepal::tc {
void mix(Digest& digest, const PortKey& key) {
  const auto& [tenant, port] = key;
  digest.all(tenant, port);
}

void mix(Digest& digest, const BpfProgram& program) {
  const auto& [name, tag] = program;
  digest.all(name, tag);
}

void mix(Digest& digest, const BpfPrograms& programs) {
  const auto& [answer_neighbour, choose_slice, judge_policy, speak_icmp, hear_question, hold_room] = programs;
  digest.all(answer_neighbour, choose_slice, judge_policy, speak_icmp, hear_question, hold_room);
}

void mix(Digest& digest, const HardwareUnit& unit) {
  const auto& [device, vni] = unit;
  digest.all(device, vni);
}

void mix(Digest& digest, const TunnelWay& way) {
  const auto& [generation, keep_out] = way;
  digest.all(generation, keep_out);
}

uint64_t digest_without_zones(const Facts& facts) {
  const auto& [uplink, vxlan, uplink_mac, ports, gateway4, gateway6, host_vlans, ways, zones, programs, demoted,
               instance] = facts;
  (void)zones;
  Digest digest;
  digest.all(uplink, vxlan, uplink_mac, ports, gateway4, gateway6, host_vlans, programs, demoted, ways, instance);
  return digest.value();
}

}  // namespace sepal::tc
