// Faults of meaning: at least one row for each rule across fields (validate_*.cpp). Rows as in reading_faults_test.cpp.
#include "tests/unit/config/fault_table.hpp"

namespace sepal::config {
namespace {

const FaultCase kCases[] = {
    {"the_vxlan_device_is_not_the_underlays",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
vxlan: {device: uplink}
)"},
     R"(
host.yaml:5:17: vxlan: device 'uplink' is the underlay's device; name another; it is made when it is not there
)"},
    {"an_ipv6_underlay_carries_at_least_1280_bytes",
     {.host = R"(
underlay: {device: uplink, address: "2001:db8::1", mtu: 1200}
)"},
     R"(
host.yaml:3:57: underlay: mtu 1200 is too small for IPv6; write at least 1280
)"},
    {"the_public_vlan_is_not_the_underlays",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 30}
public: {vlan: 30, gateway: 198.51.100.1}
)"},
     R"(
host.yaml:4:16: public: VLAN 30 is the underlay's; give the outside a VLAN of its own, or leave vlan out where its frames are untagged
)"},
    {"there_is_one_gateway_per_family",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1}
public: {gateway: [198.51.100.1, "2001:db8::1", 198.51.100.2]}
)"},
     R"(
host.yaml:4:49: public: 198.51.100.2 is a second gateway of its family; keep one IPv4 and one IPv6 gateway at most
)"},
    {"the_public_gateway_is_not_this_hypervisor",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1}
public: {gateway: 192.0.2.1}
)"},
     R"(
host.yaml:4:19: public: gateway 192.0.2.1 is this hypervisor's own tunnel address; write the address of the router outside
)"},
    {"tenant_names_are_unique",
     {.blue = more(R"(
)"),
      .green = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 200
subnets: [10.0.0.0/24]
)")},
     R"(
green.yaml:3:7: tenant 'blue' is declared twice (at blue.yaml:3:7); rename one, or merge it into the other
)"},
    {"vnis_are_unique",
     {.blue = more(R"(
)"),
      .green = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: green
vni: 100
subnets: [10.0.0.0/24]
)")},
     R"(
green.yaml:4:6: tenant 'green': vni 100 is taken by tenant 'blue' (at blue.yaml:4:6); give each tenant a vni of its own
)"},
    {"an_mtu_that_the_underlay_cannot_carry_is_a_fault",
     {.blue = more(R"(
mtu: 1551
)")},
     R"(
blue.yaml:6:6: tenant 'blue': mtu 1551 does not fit the underlay's 1600 less 50 bytes of tunnel; write at most 1550, or raise the underlay's mtu to 1601
)"},
    {"an_ipv6_underlay_takes_70_bytes",
     {.host = R"(
underlay: {device: uplink, address: "2001:db8::1", mtu: 1600}
)",
      .blue = more(R"(
mtu: 1531
)")},
     R"(
blue.yaml:6:6: tenant 'blue': mtu 1531 does not fit the underlay's 1600 less 70 bytes of tunnel; write at most 1530, or raise the underlay's mtu to 1601
)"},
    {"ipv6_subnets_need_1280_bytes",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, mtu: 1300}
)",
      .blue = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: ["fd00:100::/64"]
)"),
      .green = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: green
vni: 200
mtu: 1200
subnets: ["fd00:100::/64"]
)")},
     R"(
blue.yaml:1:1: tenant 'blue': the underlay's mtu 1300 leaves 1250 bytes to guests, who need 1280; raise the underlay's mtu to 1330
green.yaml:5:6: tenant 'green': mtu 1200 is too small for IPv6 subnets; write at least 1280
)"},
    {"an_mtu_below_every_minimum_asks_for_a_larger_underlay",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, mtu: 600}
)",
      .blue = more(R"(
mtu: 1500
)")},
     R"(
blue.yaml:6:6: tenant 'blue': mtu 1500 does not fit the underlay's 600 less 50 bytes of tunnel; raise the underlay's mtu to 1550
)"},
    {"a_tenants_vlan_is_its_own_on_the_uplink",
     {.blue = more(R"(
vlans: [{id: 2, gateway_mac: "02:00:00:00:40:01"}, {id: 30, gateway_mac: "02:00:00:00:40:01"}, {id: 40, gateway_mac: "02:00:00:00:40:01"}]
)"),
      .green = more(R"(
vlans: [{id: 40, gateway_mac: "02:00:00:00:40:01"}]
)")},
     R"(
blue.yaml:6:14: vlan '2': the underlay uses this VLAN (at host.yaml:3:11); choose a VLAN that nothing else uses on the uplink
blue.yaml:6:57: vlan '30': the public side uses this VLAN (at host.yaml:4:9); choose a VLAN that nothing else uses on the uplink
green.yaml:6:14: vlan '40': already a VLAN of tenant 'blue' (at blue.yaml:6:101); choose a VLAN that nothing else uses on the uplink
)"},
    {"a_peering_is_declared_on_both_sides",
     {.blue = more(R"(
peers: [green]
)"),
      .green = more(R"(
)")},
     R"(
blue.yaml:6:9: tenant 'blue': names 'green' as a peer, which does not name it back (at green.yaml:1:1); add blue to the peers of 'green', or remove it here
)"},
    {"a_peer_is_another_known_tenant_named_once",
     {.blue = more(R"(
peers: [blue, red, green, green]
)"),
      .green = more(R"(
peers: [blue]
)")},
     R"(
blue.yaml:6:9: tenant 'blue': names itself as a peer; remove it
blue.yaml:6:15: tenant 'blue': peer 'red' is no tenant of this host; declare a tenant of that name, or remove it
blue.yaml:6:27: tenant 'blue': peer 'green' is listed twice; keep one
)"},
    {"subnets_of_a_tenant_are_apart",
     {.blue = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: [10.0.0.0/24, 10.0.0.0/16, {cidr: 10.0.0.0/24}]
)")},
     R"(
blue.yaml:5:11: subnet '10.0.0.0/24': overlaps 10.0.0.0/16 (at blue.yaml:5:24); subnets of one tenant must be apart
blue.yaml:5:44: subnet '10.0.0.0/24': listed twice (at blue.yaml:5:11); keep one
)"},
    {"a_subnet_is_not_in_a_special_range",
     {.blue = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: [169.254.0.0/24, 224.0.0.0/8, 127.0.0.0/16, 0.0.0.0/0, "fe80::/64"]
)")},
     R"(
blue.yaml:5:11: subnet '169.254.0.0/24': overlaps 0.0.0.0/0 (at blue.yaml:5:54); subnets of one tenant must be apart
blue.yaml:5:11: subnet '169.254.0.0/24': overlaps the link-local range 169.254.0.0/16; use addresses that hosts can have
blue.yaml:5:27: subnet '224.0.0.0/8': overlaps 0.0.0.0/0 (at blue.yaml:5:54); subnets of one tenant must be apart
blue.yaml:5:27: subnet '224.0.0.0/8': overlaps the multicast range 224.0.0.0/4; use addresses that hosts can have
blue.yaml:5:40: subnet '127.0.0.0/16': overlaps 0.0.0.0/0 (at blue.yaml:5:54); subnets of one tenant must be apart
blue.yaml:5:40: subnet '127.0.0.0/16': overlaps the loopback range 127.0.0.0/8; use addresses that hosts can have
blue.yaml:5:54: subnet '0.0.0.0/0': overlaps the unspecified range 0.0.0.0/8; use addresses that hosts can have
blue.yaml:5:65: subnet 'fe80::/64': overlaps the link-local range fe80::/10; use addresses that hosts can have
)"},
    {"a_gateway_is_a_host_of_its_subnet",
     {.blue = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: [{cidr: 10.0.0.0/24, gateway: 10.0.1.1}, {cidr: 10.1.0.0/24, gateway: 10.1.0.255}]
)")},
     R"(
blue.yaml:5:40: subnet '10.0.0.0/24': gateway 10.0.1.1 is outside the subnet; use an address of 10.0.0.0/24
blue.yaml:5:80: subnet '10.1.0.0/24': gateway 10.1.0.255 is the broadcast address; use another address of the subnet
)"},
    {"port_names_are_unique_in_a_tenant",
     {.blue = more(R"(
ports:
  - {name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}
  - {name: web, device: v1, mac: "02:00:00:00:00:02", addresses: [10.0.0.2]}
)")},
     R"(
blue.yaml:8:12: port 'web': the name is taken (at blue.yaml:7:12); name each port of a tenant differently
)"},
    {"a_mac_stands_for_one_port_of_a_tenant",
     {.blue = more(R"(
ports:
  - {name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}
  - {name: app, device: v1, mac: "02:00:00:00:00:01", addresses: [10.0.0.2]}
)")},
     R"(
blue.yaml:8:34: port 'app': MAC address 02:00:00:00:00:01 is taken (at blue.yaml:7:34); a MAC address stands for one port of a tenant
)"},
    {"a_guests_mac_is_not_the_gateways",
     {.blue = more(R"(
ports: [{name: web, device: v0, mac: "02:73:65:70:61:6c", addresses: [10.0.0.1]}]
)")},
     R"(
blue.yaml:6:38: port 'web': 02:73:65:70:61:6c is the guests' gateway's MAC address; give the guest another
)"},
    {"an_address_stands_for_one_port_of_a_tenant",
     {.blue = more(R"(
ports:
  - {name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1, 10.0.0.1]}
  - {name: app, device: v1, mac: "02:00:00:00:00:02", addresses: [10.0.0.1]}
)")},
     R"(
blue.yaml:7:77: port 'web': 10.0.0.1 is taken (at blue.yaml:7:67); an address stands for one port of a tenant
blue.yaml:8:67: port 'app': 10.0.0.1 is taken (at blue.yaml:7:67); an address stands for one port of a tenant
)"},
    {"an_address_is_inside_the_subnets",
     {.blue = more(R"(
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.1.0.5, "fd00::1"]}]
)")},
     R"(
blue.yaml:6:71: port 'web': 10.1.0.5 is outside the subnets of 'blue'; use an address of 10.0.0.0/24 or add a subnet
blue.yaml:6:81: port 'web': fd00::1 is outside the subnets of 'blue'; add its network to subnets
)"},
    {"an_address_is_not_the_subnets_own",
     {.blue = more(R"(
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.0, 10.0.0.255]}]
)")},
     R"(
blue.yaml:6:71: port 'web': 10.0.0.0 is the network address of 10.0.0.0/24; give the guest another address
blue.yaml:6:81: port 'web': 10.0.0.255 is the broadcast address of 10.0.0.0/24; give the guest another address
)"},
    {"an_address_is_not_the_gateways",
     {.blue = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: [{cidr: 10.0.0.0/24, gateway: 10.0.0.254}]
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.254], prefixes: [10.0.0.254/32]}]
)")},
     R"(
blue.yaml:6:71: port 'web': 10.0.0.254 is the subnet's gateway; give the guest another address
blue.yaml:6:95: port 'web': 10.0.0.254/32 is a subnet's gateway; remove it
)"},
    {"a_prefix_is_routed_to_one_port",
     {.blue = more(R"(
ports:
  - {name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1], prefixes: [10.1.0.0/24]}
  - {name: app, device: v1, mac: "02:00:00:00:00:02", addresses: [10.0.0.2], prefixes: [10.1.0.0/24, 10.0.0.1/32]}
)")},
     R"(
blue.yaml:8:89: port 'app': 10.1.0.0/24 is taken (at blue.yaml:7:89); a network is routed to one port only, and an address needs no prefix
blue.yaml:8:102: port 'app': 10.0.0.1/32 is taken (at blue.yaml:7:67); a network is routed to one port only, and an address needs no prefix
)"},
    {"a_prefix_is_not_in_a_special_range",
     {.blue = more(R"(
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1], prefixes: [224.1.0.0/16]}]
)")},
     R"(
blue.yaml:6:93: port 'web': 224.1.0.0/16 lies in the multicast range; use addresses that hosts can have
)"},
    {"a_representor_belongs_to_one_port_of_one_tenant",
     {.blue = more(R"(
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}]
)"),
      .green = more(R"(
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}]
)")},
     R"(
green.yaml:6:29: port 'web' of 'green': device 'v0' is taken by port 'web' of 'blue' (at blue.yaml:6:29); a representor belongs to one port
)"},
    {"a_vf_belongs_to_one_port_and_is_there",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
nic: {pci: "0000:3b:00.0", vfs: 2}
)",
      .blue = more(R"(
ports:
  - {name: web, vf: 1, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}
  - {name: app, vf: 2, mac: "02:00:00:00:00:02", addresses: [10.0.0.2]}
)"),
      .green = more(R"(
ports: [{name: web, vf: 1, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}]
)")},
     R"(
blue.yaml:8:21: port 'app': vf 2 is not there, because the NIC has 2; use 0 to 1, or raise nic.vfs
green.yaml:6:25: port 'web' of 'green': vf 1 is taken by port 'web' of 'blue' (at blue.yaml:7:21); a representor belongs to one port
)"},
    {"a_port_has_a_vf_that_is_ours",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
nic: {pci: "0000:3b:00.0", vfs: 8, only: [0-2, 5]}
)",
      .blue = more(R"(
ports:
  - {name: web, vf: 5, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}
  - {name: app, vf: 4, mac: "02:00:00:00:00:02", addresses: [10.0.0.2]}
)")},
     R"(
blue.yaml:8:21: port 'app': vf 4 is not ours; use one of nic.only, or add it there
)"},
    {"the_vfs_that_are_ours_are_there",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
nic: {pci: "0000:3b:00.0", vfs: 8, only: [0-2, 8]}
)"},
     R"(
host.yaml:5:42: nic: only: VF 8 is not there, because the NIC has 8; use 0 to 7, or raise nic.vfs
)"},
    {"a_vf_needs_a_nic",
     {.blue = more(R"(
ports: [{name: web, vf: 0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}]
)")},
     R"(
blue.yaml:6:25: port 'web': vf 0 needs a NIC, but representors are manual; name the representor by device: NAME, or declare nic: {pci: …, vfs: …} in the Host document
)"},
    {"a_port_is_not_on_the_hosts_own_devices",
     {.blue = more(R"(
ports:
  - {name: web, device: uplink, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}
  - {name: app, device: sepal-vxlan, mac: "02:00:00:00:00:02", addresses: [10.0.0.2]}
)")},
     R"(
blue.yaml:7:25: port 'web': device 'uplink' is the underlay's; name the guest's own representor
blue.yaml:8:25: port 'app': device 'sepal-vxlan' is the vxlan device; name the guest's own representor
)"},
    {"there_is_one_route_to_a_network",
     {.blue = more(R"(
routes:
  - {to: 10.1.0.0/16, via: blackhole}
  - {to: 10.1.0.0/16, via: 192.0.2.2}
)")},
     R"(
blue.yaml:8:10: route '10.1.0.0/16': there is one to this network already (at blue.yaml:7:10); keep one
)"},
    {"a_next_hop_is_of_the_underlays_family",
     {.blue = more(R"(
routes: [{to: 10.1.0.0/16, via: "2001:db8::2"}]
)")},
     R"(
blue.yaml:6:33: route '10.1.0.0/16': next hop 2001:db8::2 is IPv6, but the underlay is IPv4; write the other hypervisor's IPv4 tunnel address
)"},
    {"a_next_hop_is_not_this_hypervisor",
     {.blue = more(R"(
routes: [{to: 10.1.0.0/16, via: 192.0.2.1}]
)")},
     R"(
blue.yaml:6:33: route '10.1.0.0/16': next hop 192.0.2.1 is this hypervisor itself; remove it, or name the local port
)"},
    {"what_is_local_needs_no_route",
     {.blue = more(R"(
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1], prefixes: [10.1.0.0/24]}]
routes:
  - {to: 10.0.0.1/32, via: 192.0.2.2}
  - {to: 10.1.0.0/24, via: blackhole}
)")},
     R"(
blue.yaml:8:10: route '10.0.0.1/32': it is local, at port 'web' (at blue.yaml:6:9); remove it; a port's own addresses and prefixes need no route
blue.yaml:9:10: route '10.1.0.0/24': it is local, at port 'web' (at blue.yaml:6:9); remove it; a port's own addresses and prefixes need no route
)"},
    {"link_local_and_multicast_are_never_forwarded",
     {.blue = more(R"(
routes:
  - {to: 169.254.0.0/16, via: 192.0.2.2}
  - {to: "ff02::/16", via: 192.0.2.2}
  - {to: 224.0.0.0/4, via: blackhole}
)")},
     R"(
blue.yaml:7:10: route '169.254.0.0/16': these addresses are never forwarded; remove it, or write via: blackhole
blue.yaml:8:10: route 'ff02::/16': these addresses are never forwarded; remove it, or write via: blackhole
)"},
    {"a_route_names_a_port_that_is_there",
     {.blue = more(R"(
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}]
routes: [{to: 10.1.0.0/16, via: app}, {to: 10.2.0.0/16, via: {port: app}}]
)"),
      .green = more(R"(
routes: [{to: 10.1.0.0/16, via: web}]
)")},
     R"(
blue.yaml:7:33: route '10.1.0.0/16': unknown port 'app'; ports of 'blue' are: web
blue.yaml:7:69: route '10.2.0.0/16': unknown port 'app'; ports of 'blue' are: web
green.yaml:6:33: route '10.1.0.0/16': unknown port 'web'; 'green' has no ports on this host
)"},
    {"a_route_names_a_vlan_of_its_tenant",
     {.blue = more(R"(
routes: [{to: 10.1.0.0/16, via: {vlan: 40}}]
)"),
      .green = more(R"(
vlans: [{id: 40, gateway_mac: "02:00:00:00:40:01"}]
)")},
     R"(
blue.yaml:6:40: route '10.1.0.0/16': VLAN 40 is none of 'blue'; add vlans: [{id: 40, gateway_mac: …}]
)"},
    {"the_way_out_needs_a_public_side_and_nat",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1}
)",
      .blue = more(R"(
routes: [{to: 0.0.0.0/0, via: public}]
)")},
     R"(
blue.yaml:6:31: route '0.0.0.0/0': the host has no public side; add public: {gateway: …} to the Host document
blue.yaml:6:31: route '0.0.0.0/0': 'blue' translates no IPv4 address, so all of it would be dropped; add nat: [{from: SUBNET, address: PUBLIC ADDRESS}]
)"},
    {"the_way_out_needs_a_gateway_of_its_family",
     {.blue = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: ["fd00:100::/64"]
routes: [{to: "::/0", via: public}]
nat: [{from: "fd00:100::/64", address: "2001:db8::10"}]
)")},
     R"(
blue.yaml:6:28: route '::/0': the public side has no IPv6 gateway; add one to public.gateway
blue.yaml:7:40: nat 'fd00:100::/64': the public side has no IPv6 gateway; add one to public.gateway, or remove this entry
)"},
    {"vni_goes_with_an_endpoint_or_a_port",
     {.blue = more(R"(
peers: [green]
routes: [{to: 10.1.0.0/16, via: blackhole, vni: 200}]
)"),
      .green = more(R"(
peers: [blue]
)")},
     R"(
blue.yaml:7:49: route '10.1.0.0/16': vni goes with a tunnel endpoint or a port only; remove it
)"},
    {"the_own_vni_is_left_out",
     {.blue = more(R"(
routes: [{to: 10.1.0.0/16, via: 192.0.2.2, vni: 100}]
)")},
     R"(
blue.yaml:6:49: route '10.1.0.0/16': vni 100 is the tenant's own; leave vni out
)"},
    {"a_route_into_an_unknown_vni_says_what_to_declare",
     {.blue = more(R"(
routes: [{to: 10.1.0.0/16, via: 192.0.2.2, vni: 300}]
)")},
     R"(
blue.yaml:6:49: route '10.1.0.0/16': vni 300 is no tenant of this host; declare a tenant with vni: 300 and let it and 'blue' name each other in peers
)"},
    {"a_route_into_another_tenant_needs_a_peering",
     {.blue = more(R"(
routes: [{to: 10.1.0.0/16, via: 192.0.2.2, vni: 200}]
)"),
      .green = more(R"(
)")},
     R"(
blue.yaml:6:49: route '10.1.0.0/16': 'blue' and 'green' (at green.yaml:1:1) are not peers; add green to the peers of 'blue' and blue to those of 'green'
)"},
    {"a_one_sided_peering_is_one_fault_not_two",
     {.blue = more(R"(
peers: [green]
routes: [{to: 10.1.0.0/16, via: 192.0.2.2, vni: 200}]
)"),
      .green = more(R"(
)")},
     R"(
blue.yaml:6:9: tenant 'blue': names 'green' as a peer, which does not name it back (at green.yaml:1:1); add blue to the peers of 'green', or remove it here
)"},
    {"a_route_to_a_peers_port_leads_to_what_that_port_has",
     {.blue = more(R"(
peers: [green]
routes:
  - {to: 10.7.0.0/16, via: web, vni: 200}
  - {to: 10.8.0.0/16, via: app, vni: 200}
)"),
      .green = more(R"(
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}]
peers: [blue]
)")},
     R"(
blue.yaml:8:10: route '10.7.0.0/16': it is not of port 'web' of 'green' (at green.yaml:6:9); lead into a peer only what that port has: one of its addresses, or a part of its prefixes
blue.yaml:9:28: route '10.8.0.0/16': unknown port 'app'; ports of 'green' are: web
)"},
    {"nat_keeps_the_family",
     {.blue = more(R"(
nat: [{from: 10.0.0.0/24, address: "2001:db8::1"}]
)")},
     R"(
blue.yaml:6:36: nat '10.0.0.0/24': 2001:db8::1 is of the other family; use an IPv4 address
)"},
    {"nat_needs_a_public_side",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1}
)",
      .blue = more(R"(
nat: [{from: 10.0.0.0/24, address: 203.0.113.1}]
)")},
     R"(
blue.yaml:6:36: nat '10.0.0.0/24': the host has no public side; add public: {gateway: …} to the Host document, or remove this entry
)"},
    {"nat_translates_what_the_tenant_has",
     {.blue = more(R"(
nat: [{from: 10.7.0.0/24, address: 203.0.113.1}]
)")},
     R"(
blue.yaml:6:14: nat '10.7.0.0/24': lies outside the subnets of 'blue' and the prefixes of its ports; translate what the tenant has, or add a subnet
)"},
    {"nat_sources_are_apart",
     {.blue = more(R"(
nat:
  - {from: 10.0.0.0/24, address: 203.0.113.1}
  - {from: 10.0.0.0/25, address: 203.0.113.2}
  - {from: 10.0.0.0/24, address: 203.0.113.3}
)")},
     R"(
blue.yaml:8:12: nat '10.0.0.0/25': overlaps 10.0.0.0/24 (at blue.yaml:7:12); sources of one tenant must be apart
blue.yaml:9:12: nat '10.0.0.0/24': listed twice (at blue.yaml:7:12); keep one
)"},
    {"slices_of_one_address_are_apart",
     {.blue = more(R"(
nat: [{from: 10.0.0.0/24, address: 203.0.113.1, ports: 1024-2047}]
)"),
      .green = more(R"(
nat: [{from: 10.0.0.0/24, address: 203.0.113.1, ports: 2047-3000}]
)")},
     R"(
green.yaml:6:56: nat: 203.0.113.1: ports 2047-3000 of 'green' overlap ports 1024-2047 of 'blue' (at blue.yaml:6:56); give each its own range of ports, or its own address
)"},
    {"an_address_without_a_slice_is_wholly_taken",
     {.blue = more(R"(
nat: [{from: 10.0.0.0/24, address: 203.0.113.1}]
)"),
      .green = more(R"(
nat: [{from: 10.0.0.0/24, address: 203.0.113.1, ports: 1024-2047}]
)")},
     R"(
green.yaml:6:56: nat: 203.0.113.1: ports 1024-2047 of 'green' overlap all ports of 'blue' (at blue.yaml:6:36); give each its own range of ports, or its own address
)"},
    {"a_nat_address_is_public",
     {.blue = more(R"(
nat:
  - {from: 10.0.0.0/26, address: 10.0.0.9}
  - {from: 10.0.0.64/26, address: 192.0.2.1}
  - {from: 10.0.0.128/26, address: 198.51.100.1}
)")},
     R"(
blue.yaml:7:34: nat '10.0.0.0/26': 10.0.0.9 lies in the tenant's subnet 10.0.0.0/24; use a public address
blue.yaml:8:35: nat '10.0.0.64/26': 192.0.2.1 is this hypervisor's own tunnel address; use a public address of your own
blue.yaml:9:36: nat '10.0.0.128/26': 198.51.100.1 is the public gateway's address; use a public address of your own
)"},
};

class RuleFault : public testing::TestWithParam<FaultCase> {};

TEST_P(RuleFault, is_one_line_with_its_place_and_the_fix) {
  EXPECT_EQ(faults_of(GetParam()), lines(GetParam().faults));
}

INSTANTIATE_TEST_SUITE_P(config, RuleFault, testing::ValuesIn(kCases), sentence_of);

}  // namespace
}  // namespace sepal::config
