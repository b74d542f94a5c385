// Texts of the kernel and of other programs that the doctor reads, as values. Pure: tests give them text.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/doctor/facts.hpp"

namespace sepal::agent::doctor {

// A kernel's .config: "CONFIG_VXLAN=m" → VXLAN: 'm'. What is neither y nor m is left out.
std::map<std::string, char> parse_kernel_config(std::string_view text);

// A socket in a table of /proc/net.
struct SocketEntry {
  uint32_t port_id = 0;  // netlink; UDP: the port
  uint64_t inode = 0;    // 0: the kernel's own
  bool operator==(const SocketEntry&) const = default;
};
// /proc/net/netlink: rtnetlink sockets in RTNLGRP_TC.
std::vector<SocketEntry> parse_tc_listeners(std::string_view text);
// /proc/net/udp and udp6: sockets bound to `port`.
std::vector<SocketEntry> parse_udp(std::string_view text, uint16_t port);

// A value of an ini file without regard to sections: /run/NetworkManager/devices/N, /run/systemd/netif/links/N.
std::string parse_ini(std::string_view text, std::string_view key);

}  // namespace sepal::agent::doctor
