// Faults of form: what is not YAML, not a known key, not a value of its type. YAML in → fault lines out; a row reads
// top to bottom. Host and tenants have default texts (fault_table.hpp); `more` adds lines to a tenant's, from line 6
// on.
#include "tests/unit/config/fault_table.hpp"

namespace sepal::config {
namespace {

const FaultCase kCases[] = {
    {"a_syntax_error_does_not_hide_the_faults_of_other_files",
     {.blue = more(R"(
ports: [
)"),
      .green = more(R"(
mtu: yes
)")},
     R"(
blue.yaml:7:1: not valid YAML: did not find expected node content while parsing a flow node inside what begins at 6:8; look at the indentation, the quotes and the brackets at this place and just before it
green.yaml:6:6: tenant 'green': mtu: 'yes' is not a decimal number; write a number from 576 to 65535
)"},
    {"a_tab_that_indents_is_named",
     {.blue = more(R"(
ports:
	- name: web
)")},
     R"(
blue.yaml:7:1: not valid YAML: found character that cannot start any token while scanning for the next token; indent with spaces, not with tabs
)"},
    {"what_was_left_open_is_named_by_its_beginning",
     {.blue = more(R"(
peers: ["green]
mtu: 1400
)")},
     R"(
blue.yaml:8:1: not valid YAML: found unexpected end of stream while scanning a quoted scalar that begins at 6:9; look at the indentation, the quotes and the brackets at this place and just before it
)"},
    {"an_address_that_begins_with_a_colon_needs_quotes_inside_brackets",
     {.blue = more(R"(
routes: [{to: ::/0, via: public}]
)")},
     R"(
blue.yaml:6:15: not valid YAML: did not find expected node content while parsing a flow node inside what begins at 6:10; inside [ ] and { } put what begins or ends with ':' in quotes, as "::/0"
)"},
    {"an_address_that_ends_with_a_colon_needs_quotes_inside_brackets",
     {.blue = more(R"(
peers: [fd00::, green]
)")},
     R"(
blue.yaml:6:14: not valid YAML: found unexpected ':' while scanning a plain scalar that begins at 6:9; inside [ ] and { } put what begins or ends with ':' in quotes, as "::/0"
)"},
    {"an_alias_without_a_name_is_explained",
     {.blue = more(R"(
mtu: * 
)")},
     R"(
blue.yaml:6:7: not valid YAML: did not find expected alphabetic or numeric character while scanning an alias that begins at 6:6; write the value out; anchors and aliases are not supported
)"},
    {"an_undefined_alias_is_refused_like_any_other",
     {.blue = more(R"(
mtu: *m
)")},
     R"(
blue.yaml:6:6: anchors (&name) and aliases (*name) are not supported; write the value out
)"},
    {"anchors_and_aliases_are_refused_once_per_file",
     {.blue = more(R"(
peers: &p [green, &q red]
nat: *p
routes: *p
)")},
     R"(
blue.yaml:6:8: anchors (&name) and aliases (*name) are not supported; write the value out
)"},
    {"merge_keys_are_refused",
     {.blue = more(R"(
<<: {mtu: 1500}
)")},
     R"(
blue.yaml:6:1: tenant: merge keys (<<) are not supported; write the keys out
)"},
    {"a_flow_log_is_on_or_off_and_goes_to_a_file_of_the_host",
     {.host = R"(nic: {representors: manual}
underlay: {device: uplink, address: 192.0.2.1}
flow_log: {file: flows.json, path: /tmp}
)",
      .blue = more(R"(
flow_log: {file: /var/log/blue.json}
)"),
      .green = more(R"(
flow_log: yes
)")},
     R"(
host.yaml:5:18: flow_log: file: 'flows.json' is no file's path; write a file's path from the root on, such as /var/log/sepal/flows.json
host.yaml:5:30: flow_log: unknown key 'path'; keys here are: file
blue.yaml:6:11: tenant 'blue': flow_log: expected true or false, found a map; write true or false
green.yaml:6:11: tenant 'green': flow_log: 'yes' is neither true nor false; write true or false, without quotes
)"},
    {"tags_are_refused",
     {.blue = more(R"(
mtu: !!int 1500
ports: !custom []
)")},
     R"(
blue.yaml:6:6: tag 'tag:yaml.org,2002:int' is not supported; remove it; types follow from the keys
blue.yaml:7:8: tag '!custom' is not supported; remove it; types follow from the keys
)"},
    {"bytes_that_a_tag_spells_are_shown_in_ascii",
     {.blue = more(R"(
mtu: !<%ED%A0%80%0A> 1500
)")},
     R"(
blue.yaml:6:6: tag '\xed\xa0\x80\x0a' is not supported; remove it; types follow from the keys
)"},
    {"nothing_has_many_names_and_none_in_quotes",
     {.blue = more(R"(
peers: [~, null, Null, NULL, nULL, "null", !!null ]
mtu:
vlans: ""
)")},
     R"(
blue.yaml:6:9: tenant 'blue': peers: expected a name, found nothing; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
blue.yaml:6:12: tenant 'blue': peers: expected a name, found nothing; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
blue.yaml:6:18: tenant 'blue': peers: expected a name, found nothing; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
blue.yaml:6:24: tenant 'blue': peers: expected a name, found nothing; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
blue.yaml:6:30: tenant 'blue': peers: 'nULL' is not a name; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
blue.yaml:6:44: tag 'tag:yaml.org,2002:null' is not supported; remove it; types follow from the keys
blue.yaml:7:5: tenant 'blue': mtu: expected a number, found nothing; write a number from 576 to 65535
blue.yaml:8:8: tenant 'blue': vlans: expected a list, found text; write it as a list, even of one: [ … ]
)"},
    {"a_key_given_twice_is_a_fault",
     {.blue = more(R"(
mtu: 1400
mtu: 1500
)")},
     R"(
blue.yaml:7:1: tenant: mtu is given twice (at blue.yaml:6:6); keep one
)"},
    {"a_key_that_is_not_text_is_a_fault",
     {.blue = more(R"(
[a]: b
)")},
     R"(
blue.yaml:6:1: tenant: a key must be text, found a list; keys here are: apiVersion, kind, name, vni, mtu, subnets, ports, vlans, routes, nat, peers, security_groups, guests, limits, flow_log
)"},
    {"an_unknown_key_suggests_the_nearest",
     {.blue = more(R"(
route: []
)")},
     R"(
blue.yaml:6:1: tenant: unknown key 'route'; did you mean routes?
)"},
    {"an_unknown_key_that_is_near_nothing_lists_the_known_ones",
     {.blue = more(R"(
routes:
  - {to: 10.1.0.0/16, via: blackhole, colour: red}
)")},
     R"(
blue.yaml:7:39: route: unknown key 'colour'; keys here are: to, via, vni
)"},
    {"a_misspelt_key_is_not_missing_as_well",
     {.host = R"(
underlay: {device: uplink, adress: 192.0.2.1}
)"},
     R"(
host.yaml:3:28: underlay: unknown key 'adress'; did you mean address?
)"},
    {"what_is_not_built_yet_is_refused_by_name",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
)",
      .blue = more(R"(
services: []
load_balancers: []
virtual_ips: []
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1], virtual_ips: []}]
)")},
     R"(
blue.yaml:6:1: tenant: services is not supported yet: this version would not publish them; remove it
blue.yaml:7:1: tenant: load_balancers is not supported yet: this version would not balance anything; remove it
blue.yaml:8:1: tenant: virtual_ips is not supported yet: this version would not answer for them; remove it
blue.yaml:9:82: port: virtual_ips is not supported yet: this version would not answer for them; remove it
)"},
    {"connections_are_a_number_of_the_host_or_of_a_tenant",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1}
limits: {connections: 0}
)",
      .blue = more(R"(
limits: {connections: 67108865}
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1], limits: {connections: 5}}]
)")},
     R"(
host.yaml:4:23: limits: connections: '0' is out of range; write a number from 1 to 67108864
blue.yaml:6:23: limits: connections: '67108865' is out of range; write a number from 1 to 67108864
blue.yaml:7:91: limits: unknown key 'connections'; keys here are: arp_nd_per_second, dhcp_per_second, new_connections_per_second
)"},
    {"a_budget_of_hardware_rules_is_a_number_of_the_host_or_of_a_tenant",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1}
limits: {hardware_rules: 16777217}
)",
      .blue = more(R"(
limits: {hardware_rules: many}
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1], limits: {hardware_rules: 1}}]
)")},
     R"(
host.yaml:4:26: limits: hardware_rules: '16777217' is out of range; write a number from 0 to 16777216
blue.yaml:6:26: limits: hardware_rules: 'many' is not a decimal number; write a number from 0 to 16777216
blue.yaml:7:91: limits: unknown key 'hardware_rules'; keys here are: arp_nd_per_second, dhcp_per_second, new_connections_per_second
)"},
    {"rates_are_numbers_of_the_host_a_tenant_or_a_port",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1}
limits: {new_connections_per_second: 0}
)",
      .blue = more(R"(
limits: {arp_nd_per_second: 1000001}
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1], limits: {new_connections_per_second: fast}}]
)")},
     R"(
host.yaml:4:38: limits: new_connections_per_second: '0' is out of range; write a number from 1 to 1000000
blue.yaml:6:29: limits: arp_nd_per_second: '1000001' is out of range; write a number from 1 to 1000000
blue.yaml:7:119: limits: new_connections_per_second: 'fast' is not a decimal number; write a number from 1 to 1000000
)"},
    {"what_guests_are_told_is_of_a_form_that_can_be_told",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1}
guests: {dhcp: on, lease_seconds: 59, dns: 192.0.2.53, domain: -x.net}
)",
      .blue = more(R"(
guests: {boot: {server: "fd00::1", file: "a b", url: boot.efi}, ntp: [pool.ntp.org]}
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1], hostname: web_0, dhcp_server: 1}]
limits: {dhcp_per_second: 0}
)")},
     R"(
host.yaml:4:16: guests: dhcp: 'on' is neither true nor false; write true or false, without quotes
host.yaml:4:35: guests: lease_seconds: '59' is out of range; write a number from 60 to 2147483647
host.yaml:4:44: guests: dns: expected a list, found text; write it as a list, even of one: [ … ]
host.yaml:4:64: guests: domain: '-x.net' is not a domain name; write labels of letters, digits and '-', 1 to 63 each and 253 in all, such as guests.example.net
blue.yaml:6:25: boot: server: fd00::1 is not an IPv4 address; name the IPv4 server here, and boot over IPv6 by url
blue.yaml:6:42: boot: file: 'a b' is not a file's name; write 1 to 255 printable characters without blanks: a path or a URL
blue.yaml:6:54: boot: url: 'boot.efi' is not a URL; write one such as tftp://[fd00::1]/boot.efi
blue.yaml:6:71: guests: ntp: 'pool.ntp.org' is not an IP address; write an IPv4 or IPv6 address, such as 10.0.0.1 or fd00:100::1
blue.yaml:7:92: port 'web': hostname: 'web_0' is not a domain name; write labels of letters, digits and '-', 1 to 63 each and 253 in all, such as guests.example.net
blue.yaml:7:112: port 'web': dhcp_server: '1' is neither true nor false; write true or false, without quotes
blue.yaml:8:27: limits: dhcp_per_second: '0' is out of range; write a number from 1 to 1000000
)"},
    {"an_empty_file_is_a_fault",
     {.blue = whole(R"(
)")},
     R"(
blue.yaml: the file holds no document; remove or rename it; only .yaml and .yml files are read
)"},
    {"an_empty_document_is_a_fault",
     {.blue = whole(R"(
---
---
)")},
     R"(
blue.yaml:2:1: empty document; remove the --- line that begins it
blue.yaml:3:1: empty document; remove the --- line that begins it
)"},
    {"a_document_that_is_a_list_is_a_fault",
     {.blue = whole(R"(
[a, b]
)")},
     R"(
blue.yaml:1:1: expected a document of kind Host or Tenant, found a list; begin it with apiVersion: sepal/v1 and kind: Tenant
)"},
    {"a_document_without_a_kind_is_a_fault",
     {.blue = whole(R"(
apiVersion: sepal/v1
name: blue
)")},
     R"(
blue.yaml:1:1: the document has no kind; write kind: Host or kind: Tenant
)"},
    {"an_unknown_kind_is_a_fault",
     {.blue = whole(R"(
apiVersion: sepal/v1
kind: Tenent
)")},
     R"(
blue.yaml:2:7: unknown kind 'Tenent'; write kind: Host or kind: Tenant
)"},
    {"a_document_of_another_version_is_not_judged",
     {.blue = whole(R"(
apiVersion: sepal/v2
kind: Tenant
colour: red
)")},
     R"(
blue.yaml:1:13: unknown apiVersion 'sepal/v2'; write apiVersion: sepal/v1
)"},
    {"a_document_without_a_version_is_read_all_the_same",
     {.blue = whole(R"(
kind: Tenant
name: blue
vni: 0
)")},
     R"(
blue.yaml:1:1: the document has no apiVersion; add apiVersion: sepal/v1
blue.yaml:3:6: tenant 'blue': vni: '0' is out of range; write a number from 1 to 16777215
)"},
    {"without_a_host_there_is_no_configuration",
     {.host = nullptr},
     R"(
no document of kind Host; add one that describes this hypervisor: kind: Host, underlay: {device: …, address: …}
)"},
    {"one_directory_describes_one_host",
     {.blue = whole(R"(
apiVersion: sepal/v1
kind: Host
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
)")},
     R"(
blue.yaml:1:1: a second document of kind Host (the first is at host.yaml:1:1); one directory describes one hypervisor; keep one
)"},
    {"nesting_has_a_bound",
     {.blue = more(R"(
ports: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[
)")},
     R"(
blue.yaml:6:39: nested deeper than 32 levels; no key of this configuration needs more than six
)"},
    {"numbers_are_decimal_digits_only",
     {.blue = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 0100
mtu: 1e3
vlans: [{id: -1, gateway_mac: "02:00:00:00:00:01"}, {id: 0x10, gateway_mac: "02:00:00:00:00:01"}, {id: "7", gateway_mac: "02:00:00:00:00:01"}, {id: , gateway_mac: "02:00:00:00:00:01"}]
)")},
     R"(
blue.yaml:4:6: tenant 'blue': vni: '0100' is not a decimal number; write a number from 1 to 16777215
blue.yaml:5:6: tenant 'blue': mtu: '1e3' is not a decimal number; write a number from 576 to 65535
blue.yaml:6:14: vlan '-1': id: '-1' is not a decimal number; write a number from 1 to 4094
blue.yaml:6:58: vlan '0x10': id: '0x10' is not a decimal number; write a number from 1 to 4094
blue.yaml:6:104: vlan '7': id: expected a number, found the text '7'; remove the quotes
blue.yaml:6:149: vlan: id: expected a number, found nothing; write a number from 1 to 4094
)"},
    {"a_vni_has_24_bits_and_is_not_zero",
     {.blue = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 0
)"),
      .green = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: green
vni: 16777216
)")},
     R"(
blue.yaml:4:6: tenant 'blue': vni: '0' is out of range; write a number from 1 to 16777215
green.yaml:4:6: tenant 'green': vni: '16777216' is out of range; write a number from 1 to 16777215
)"},
    {"a_vlan_is_1_to_4094",
     {.blue = more(R"(
vlans: [{id: 0, gateway_mac: "02:00:00:00:00:01"}, {id: 4095, gateway_mac: "02:00:00:00:00:01"}]
)")},
     R"(
blue.yaml:6:14: vlan '0': id: '0' is out of range; write a number from 1 to 4094
blue.yaml:6:57: vlan '4095': id: '4095' is out of range; write a number from 1 to 4094
)"},
    {"a_number_beyond_32_bits_is_out_of_range",
     {.blue = more(R"(
mtu: 99999999999999999999
)")},
     R"(
blue.yaml:6:6: tenant 'blue': mtu: '99999999999999999999' is out of range; write a number from 576 to 65535
)"},
    {"booleans_are_true_and_false",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1}
public: {gateway: 198.51.100.1, answer_arp: yes}
)"},
     R"(
host.yaml:4:45: public: answer_arp: 'yes' is neither true nor false; write true or false, without quotes
)"},
    {"a_mac_is_six_pairs_unicast_and_not_zero",
     {.blue = more(R"(
ports:
  - {name: a, device: v0, mac: "02:00:00:00:00", addresses: [10.0.0.1]}
  - {name: b, device: v1, mac: "03:00:00:00:00:01", addresses: [10.0.0.2]}
  - {name: c, device: v2, mac: "00:00:00:00:00:00", addresses: [10.0.0.3]}
  - {name: d, device: v3, mac: [], addresses: [10.0.0.4]}
)")},
     R"(
blue.yaml:7:32: port 'a': mac: '02:00:00:00:00' is not a MAC address; write six pairs of hexadecimal digits, such as 02:00:00:00:00:0a
blue.yaml:8:32: port 'b': mac: 03:00:00:00:00:01 is a multicast MAC address; the first pair must be an even number, such as 02
blue.yaml:9:32: port 'c': mac: the MAC address is all zero; write the guest's own, such as 02:00:00:00:00:0a
blue.yaml:10:32: port 'd': mac: expected a MAC address, found a list; write six pairs of hexadecimal digits, such as 02:00:00:00:00:0a
)"},
    {"an_address_is_one_that_a_host_can_have",
     {.blue = more(R"(
ports:
  - name: a
    device: v0
    mac: "02:00:00:00:00:01"
    addresses: [10.0.0.1/24, 10.0.0.256, 224.0.0.1, 127.0.0.1, 0.0.0.0, 169.254.1.1, "fe80::2", "::ffff:10.0.0.1", "::", 255.255.255.255]
)")},
     R"(
blue.yaml:10:17: port 'a': addresses: '10.0.0.1/24' is not an IP address; leave the length out: 10.0.0.1
blue.yaml:10:30: port 'a': addresses: '10.0.0.256' is not an IP address; write an IPv4 or IPv6 address, such as 10.0.0.1 or fd00:100::1
blue.yaml:10:42: port 'a': addresses: 224.0.0.1 is a multicast address; write a unicast address that a host can have
blue.yaml:10:53: port 'a': addresses: 127.0.0.1 is a loopback address; write a unicast address that a host can have
blue.yaml:10:64: port 'a': addresses: 0.0.0.0 is the unspecified address; write a unicast address that a host can have
blue.yaml:10:73: port 'a': addresses: 169.254.1.1 is a link-local address; write a unicast address that a host can have
blue.yaml:10:86: port 'a': addresses: fe80::2 is a link-local address; write a unicast address that a host can have
blue.yaml:10:97: port 'a': addresses: ::ffff:10.0.0.1 is an IPv4-mapped address; write a unicast address that a host can have
blue.yaml:10:116: port 'a': addresses: :: is the unspecified address; write a unicast address that a host can have
blue.yaml:10:122: port 'a': addresses: 255.255.255.255 is the broadcast address; write a unicast address that a host can have
)"},
    {"a_network_needs_a_length_and_no_host_bits",
     {.blue = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: blue
vni: 100
subnets: [10.0.0.1/24, 10.0.0.0, 10.0.0.0/33, 10.0.0.0/08, x, {cidr: "fd00::1/64"}]
)")},
     R"(
blue.yaml:5:11: tenant 'blue': subnets: '10.0.0.1/24' has host bits set; write 10.0.0.0/24
blue.yaml:5:24: tenant 'blue': subnets: '10.0.0.0' has no length; write 10.0.0.0/32
blue.yaml:5:34: tenant 'blue': subnets: '10.0.0.0/33' is not a network; write an address and a length, such as 10.0.0.0/24 or fd00:100::/64
blue.yaml:5:47: tenant 'blue': subnets: '10.0.0.0/08' is not a network; write an address and a length, such as 10.0.0.0/24 or fd00:100::/64
blue.yaml:5:60: tenant 'blue': subnets: 'x' is not a network; write an address and a length, such as 10.0.0.0/24 or fd00:100::/64
blue.yaml:5:70: subnet 'fd00::1/64': cidr: 'fd00::1/64' has host bits set; write fd00::/64
)"},
    {"a_slice_is_a_range_without_port_zero",
     {.blue = more(R"(
ports: [{name: web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}]
nat:
  - {from: 10.0.0.0/25, address: 203.0.113.1, ports: 0-1023}
  - {from: 10.0.0.0/25, address: 203.0.113.1, ports: 2047-1024}
  - {from: 10.0.0.0/25, address: 203.0.113.1, ports: 1-65536}
  - {from: 10.0.0.0/25, address: 203.0.113.1, ports: 0x1-2}
)")},
     R"(
blue.yaml:8:54: nat '10.0.0.0/25': ports: '0-1023' is out of range; write a range such as 1024-2047, or one port, from 1 to 65535
blue.yaml:9:54: nat '10.0.0.0/25': ports: '2047-1024' ends before it begins; write the lower port first
blue.yaml:10:54: nat '10.0.0.0/25': ports: '1-65536' is out of range; write a range such as 1024-2047, or one port, from 1 to 65535
blue.yaml:11:54: nat '10.0.0.0/25': ports: '0x1-2' is not a range of ports; write a range such as 1024-2047, or one port, from 1 to 65535
)"},
    {"names_are_lower_case_and_short",
     {.blue = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: Blue
vni: 100
peers: [-x, "a b", "", aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]
)")},
     R"(
blue.yaml:3:7: tenant 'Blue': name: 'Blue' is not a name; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
blue.yaml:5:9: tenant 'Blue': peers: '-x' is not a name; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
blue.yaml:5:13: tenant 'Blue': peers: 'a b' is not a name; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
blue.yaml:5:20: tenant 'Blue': peers: '' is not a name; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
blue.yaml:5:24: tenant 'Blue': peers: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…' is not a name; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
)"},
    {"port_names_are_not_what_a_route_means_otherwise",
     {.blue = more(R"(
ports:
  - {name: public, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}
  - {name: blackhole, device: v1, mac: "02:00:00:00:00:02", addresses: [10.0.0.2]}
  - {name: 10.0.0.3, device: v2, mac: "02:00:00:00:00:03", addresses: [10.0.0.3]}
)")},
     R"(
blue.yaml:7:12: port 'public': name: 'public' cannot name a port, because a route's `via` means something else by it; choose another name, such as web-0
blue.yaml:8:12: port 'blackhole': name: 'blackhole' cannot name a port, because a route's `via` means something else by it; choose another name, such as web-0
blue.yaml:9:12: port '10.0.0.3': name: '10.0.0.3' cannot name a port, because a route's `via` means something else by it; choose another name, such as web-0
)"},
    {"device_names_are_what_the_kernel_takes",
     {.blue = more(R"(
ports:
  - {name: a, device: a-name-too-long-by-far, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}
  - {name: b, device: a/b, mac: "02:00:00:00:00:02", addresses: [10.0.0.2]}
  - {name: c, device: "a b", mac: "02:00:00:00:00:03", addresses: [10.0.0.3]}
)")},
     R"(
blue.yaml:7:23: port 'a': device: 'a-name-too-long-by-far' is not an interface's name; write an interface's name: 1 to 15 printable characters without '/', ':' and '%'
blue.yaml:8:23: port 'b': device: 'a/b' is not an interface's name; write an interface's name: 1 to 15 printable characters without '/', ':' and '%'
blue.yaml:9:23: port 'c': device: 'a b' is not an interface's name; write an interface's name: 1 to 15 printable characters without '/', ':' and '%'
)"},
    {"control_characters_and_long_text_do_not_enter_a_fault_line",
     {.blue = whole(R"(
apiVersion: sepal/v1
kind: Tenant
name: "a\nb\e[31m\0"
vni: 100
peers: [xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxääääääääääääääääääääääääääääääääääääääää]
)")},
     R"(
blue.yaml:3:7: tenant 'a\x0ab\x1b[31m\x00': name: 'a\x0ab\x1b[31m\x00' is not a name; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
blue.yaml:5:9: tenant 'a\x0ab\x1b[31m\x00': peers: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxääääääääää…' is not a name; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
)"},
    {"the_underlay_is_required",
     {.host = R"(
nic: {representors: manual}
)"},
     R"(
host.yaml:1:1: host: underlay is missing; add underlay: {device: uplink, address: 192.0.2.1}
)"},
    {"nic_is_manual_or_a_pci_device",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
nic: {representors: manual, pci: "0000:3b:00.0"}
)"},
     R"(
host.yaml:5:21: nic: representors: manual and a PCI device exclude each other; keep {representors: manual} where ports name devices, or {pci: …, vfs: …} where they name VFs
)"},
    {"representors_are_manual_or_not_given",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
nic: {representors: auto}
)"},
     R"(
host.yaml:5:21: nic: representors has one value only; write representors: manual, or pci and vfs
)"},
    {"a_pci_device_has_an_address_and_vfs",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
nic: {pci: "3b:00.0", vfs: 256}
)"},
     R"(
host.yaml:5:12: nic: pci: '3b:00.0' is not a PCI address; write domain:bus:device.function as lspci -D does, such as "0000:3b:00.0"
host.yaml:5:28: nic: vfs: '256' is out of range; write a number from 1 to 255
)"},
    {"vfs_that_are_ours_are_numbers_and_ranges",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
nic: {pci: "0000:3b:00.0", vfs: 8, only: [0-2, 3-, 255, 5-4]}
)"},
     R"(
host.yaml:5:48: nic: only: '3-' names no VFs; write a VF's number, or a range such as 0-7, from 0 to 254
host.yaml:5:52: nic: only: '255' is out of range; write a VF's number, or a range such as 0-7, from 0 to 254
host.yaml:5:57: nic: only: '5-4' ends before it begins; write the lower VF first
)"},
    {"no_vf_that_is_ours_is_a_slip",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
nic: {pci: "0000:3b:00.0", vfs: 8, only: []}
)"},
     R"(
host.yaml:5:42: nic: only: the list is empty; name VFs, such as only: [0-7], or leave it out when all are ours
)"},
    {"an_empty_nic_says_what_is_missing",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
nic: {}
)"},
     R"(
host.yaml:5:6: nic: pci is missing; add pci: "0000:3b:00.0", or write {representors: manual}
host.yaml:5:6: nic: vfs is missing; add the number of VFs, such as vfs: 16
)"},
    {"the_public_side_has_a_gateway",
     {.host = R"(
underlay: {device: uplink, address: 192.0.2.1}
public: {vlan: 30}
)"},
     R"(
host.yaml:4:9: public: gateway is missing; add the next hop to the outside, such as gateway: 198.51.100.1
)"},
    {"a_map_where_text_belongs_is_a_fault",
     {.host = R"(
underlay: uplink
vxlan: [a]
gateway_mac: {}
limits: {arp_nd_per_second: 0}
)"},
     R"(
host.yaml:3:11: underlay: expected a map, found text; keys here are: device, address, vlan, mtu
host.yaml:4:8: vxlan: expected a map, found a list; keys here are: device, port
host.yaml:5:14: host: gateway_mac: expected a MAC address, found a map; write six pairs of hexadecimal digits, such as 02:00:00:00:00:0a
host.yaml:6:29: limits: arp_nd_per_second: '0' is out of range; write a number from 1 to 1000000
)"},
    {"a_list_is_a_list",
     {.blue = more(R"(
ports: web
routes: {to: 10.1.0.0/16}
peers:
nat: []
)")},
     R"(
blue.yaml:6:8: tenant 'blue': ports: expected a list, found text; write it as a list, even of one: [ … ]
blue.yaml:7:9: tenant 'blue': routes: expected a list, found a map; write it as a list, even of one: [ … ]
)"},
    {"a_port_says_all_it_must",
     {.blue = more(R"(
ports:
  - {}
  - {name: a, vf: 0, device: v0, mac: "02:00:00:00:00:01", addresses: []}
  - text
)")},
     R"(
blue.yaml:7:5: port: name is missing; add a name, such as name: web-0
blue.yaml:7:5: port: neither vf nor device is given; add vf: the number of the VF, or device: the representor's name
blue.yaml:7:5: port: the port has no addresses; add at least one, such as addresses: [10.0.0.1]
blue.yaml:8:19: port 'a': vf 0 needs a NIC, but representors are manual; name the representor by device: NAME, or declare nic: {pci: …, vfs: …} in the Host document
blue.yaml:8:30: port 'a': vf and device are both given; keep vf: the number of the VF, or device: the representor's name
blue.yaml:8:71: port 'a': the port has no addresses; add at least one, such as addresses: [10.0.0.1]
blue.yaml:9:5: port: expected a map, found text; keys here are: name, vf, device, mac, addresses, prefixes, security_groups, guests, hostname, dhcp_server, limits
)"},
    {"a_vlan_says_its_gateways_mac",
     {.blue = more(R"(
vlans: [{id: 40}]
)")},
     R"(
blue.yaml:6:9: vlan '40': gateway_mac is missing; add the MAC address of the next hop on this VLAN
)"},
    {"a_route_says_where_to_and_via_what",
     {.blue = more(R"(
routes:
  - {to: 10.1.0.0/16}
  - {via: blackhole}
  - {to: 10.2.0.0/16, via: Web}
  - {to: 10.3.0.0/16, via: 192.0.2.300}
  - {to: 10.4.0.0/16, via: {vlan: 40, port: web}}
  - {to: 10.5.0.0/16, via: {}}
  - {to: 10.6.0.0/16, via: [a]}
  - {to: 10.7.0.0/16, via: {device: x}}
  - {to: 10.8.0.0/16, via: 224.0.0.9}
  - {to: 10.9.0.0/16, via: {vlan: 5000}}
)")},
     R"(
blue.yaml:7:5: route '10.1.0.0/16': via is missing; add via: a tunnel endpoint's address, a port's name, public or blackhole
blue.yaml:8:5: route: to is missing; add to: the network, such as to: 10.0.0.2/32
blue.yaml:9:28: route '10.2.0.0/16': via: 'Web' is neither an address nor a name; write a tunnel endpoint's address, a port's name, public, blackhole, {vlan: N} or {port: NAME}
blue.yaml:10:28: route '10.3.0.0/16': via: '192.0.2.300' is not an IP address; write an IPv4 or IPv6 address, such as 10.0.0.1 or fd00:100::1
blue.yaml:11:28: via: vlan and port are both given; write a tunnel endpoint's address, a port's name, public, blackhole, {vlan: N} or {port: NAME}
blue.yaml:12:28: via: neither vlan nor port is given; write a tunnel endpoint's address, a port's name, public, blackhole, {vlan: N} or {port: NAME}
blue.yaml:13:28: route '10.6.0.0/16': via: expected a next hop, found a list; write a tunnel endpoint's address, a port's name, public, blackhole, {vlan: N} or {port: NAME}
blue.yaml:14:28: via: neither vlan nor port is given; write a tunnel endpoint's address, a port's name, public, blackhole, {vlan: N} or {port: NAME}
blue.yaml:14:29: via: unknown key 'device'; keys here are: vlan, port
blue.yaml:15:28: route '10.8.0.0/16': via: 224.0.0.9 is a multicast address; write a unicast address that a host can have
blue.yaml:16:35: via: vlan: '5000' is out of range; write a number from 1 to 4094
)"},
    {"a_nat_entry_says_from_where_to_what",
     {.blue = more(R"(
nat: [{}]
)")},
     R"(
blue.yaml:6:7: nat: from is missing; add whose addresses are translated, such as from: 10.0.0.0/24
blue.yaml:6:7: nat: address is missing; add the public address, such as address: 203.0.113.10
)"},
    {"one_slip_in_a_port_does_not_make_its_routes_wrong",
     {.blue = more(R"(
ports: [{name: Web, device: v0, mac: "02:00:00:00:00:01", addresses: [10.0.0.1]}]
routes: [{to: 10.1.0.0/16, via: web}]
)")},
     R"(
blue.yaml:6:16: port 'Web': name: 'Web' is not a name; use a-z, 0-9, '-' and '.', with a letter or digit at both ends, at most 63 characters
)"},
    {"a_tenant_that_cannot_be_read_is_not_an_unknown_peer",
     {.blue = more(R"(
peers: [green]
)"),
      .green = more(R"(
ports: [
)")},
     R"(
green.yaml:7:1: not valid YAML: did not find expected node content while parsing a flow node inside what begins at 6:8; look at the indentation, the quotes and the brackets at this place and just before it
)"},
};

class ReadingFault : public testing::TestWithParam<FaultCase> {};

TEST_P(ReadingFault, is_one_line_with_its_place_and_the_fix) {
  EXPECT_EQ(faults_of(GetParam()), lines(GetParam().faults));
}

INSTANTIATE_TEST_SUITE_P(config, ReadingFault, testing::ValuesIn(kCases), sentence_of);

}  // namespace
}  // namespace sepal::config
