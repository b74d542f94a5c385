// Short words for the actions the pipeline uses, so that a group reads like the tc command it stands for.
#pragma once

#include <string>

#include "tc/rule/rule.hpp"

namespace sepal::tc {

Action drop();                      // action drop
Action pass();                      // action pass
Action taken();                     // action stolen: gone like a drop, and none
Action goto_chain(uint32_t chain);  // action goto chain N
Action redirect(IfIndex device);    // action mirred egress redirect dev X
Action vlan_pop();                  // action vlan pop
Action vlan_push(Vid id);           // action vlan push id N protocol 802.1Q
Action tunnel_set(const IpAddr& source, const IpAddr& destination, Vni key, uint16_t dst_port,
                  uint8_t ttl = 0);                              // tunnel_key set … nocsum
Action tunnel_unset();                                           // action tunnel_key unset
Action csum(uint32_t flags);                                     // action csum …
Action ct_lookup(Zone zone);                                     // action ct zone Z nat
Action ct_commit(Zone zone, uint32_t mark, uint32_t mark_mask);  // action ct commit zone Z mark M/K
// action ct commit zone Z mark M/K nat src addr A [port F-L]; without an address the mapping the connection already has
// is applied.
Action ct_commit_snat(Zone zone, std::optional<IpAddr> address, std::optional<PortRange> ports, uint32_t mark,
                      uint32_t mark_mask);
Action police_packets(uint64_t per_second,
                      uint64_t burst);     // action police pkts_rate R pkts_burst B conform-exceed drop/pipe
Action police_size(uint32_t frame_bytes);  // action police mtu M conform-exceed pipe/continue: larger ones go on here
Action police_fits(uint32_t frame_bytes);  // action police mtu M conform-exceed continue/pipe: smaller ones do
Action bpf(const std::string& name, const std::array<uint8_t, 8>& tag,
           Control unspec);      // action bpf …; unspec: TC_ACT_UNSPEC
Action set_mark(uint32_t mark);  // action skbedit mark M
// action pedit ex munge eth dst set D munge eth src set S munge ip ttl add 255 (IPv6: hop limit): a router's rewrite in
// one action.
Action rewrite_macs_and_ttl(const MacAddr& source, const MacAddr& destination, Family family);

}  // namespace sepal::tc
