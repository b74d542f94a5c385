// guests: → GuestSettings, of whoever has such a map; and what of host, tenant and port holds for a port.
#include "config/guests.hpp"

#include "config/documents.hpp"
#include "config/tunnel.hpp"

namespace sepal::config {
namespace {

constexpr size_t kServersMax = 8;  // more than any resolver asks, and far below what an answer holds
constexpr Bounds kLeaseBounds{60, 0x7fffffff};

std::optional<std::vector<IpAddr>> read_servers(const Fields& fields, std::string_view key) {
  NodeRef list = fields.find(key);
  if (!list) return std::nullopt;
  std::vector<IpAddr> servers;
  fields.each(key, [&](NodeRef item) {
    auto server = fields.accept(key, item, parse_address(item));
    if (!server) return;
    if (servers.size() == kServersMax)
      fields.fault(item.where(), std::string(key) + ": more than " + std::to_string(kServersMax) + " servers",
                   "keep the best " + std::to_string(kServersMax));
    servers.push_back(*server);
  });
  if (servers.size() > kServersMax) servers.resize(kServersMax);
  return servers;
}

Boot read_boot(NodeRef node, Faults& faults) {
  Boot boot;
  Fields fields(node, tables::kBoot, faults);
  boot.server = fields.read("server", parse_address);
  if (boot.server && !boot.server->is_v4()) {
    fields.fault(fields.find("server").where(), "server: " + boot.server->to_string() + " is not an IPv4 address",
                 "name the IPv4 server here, and boot over IPv6 by url");
    boot.server.reset();
  }
  boot.file = fields.read("file", parse_boot_file).value_or("");
  boot.ipxe = fields.read("ipxe", parse_boot_file).value_or("");
  boot.url = fields.read("url", parse_boot_url).value_or("");
  return boot;
}

template <typename T>
T first_of(const std::optional<T>& own, const std::optional<T>& wider, const std::optional<T>& widest, T otherwise) {
  return own ? *own : wider ? *wider : widest.value_or(std::move(otherwise));
}

}  // namespace

GuestSettings read_guests(NodeRef node, Faults& faults) {
  GuestSettings settings;
  Fields fields(node, tables::kGuests, faults);
  if (!fields.is_map()) return settings;
  settings.dhcp = fields.read("dhcp", parse_boolean);
  settings.router_advertisements = fields.read("router_advertisements", parse_boolean);
  settings.dns = read_servers(fields, "dns");
  settings.ntp = read_servers(fields, "ntp");
  settings.domain = fields.read("domain", parse_domain);
  settings.lease_seconds = fields.read("lease_seconds", [](NodeRef n) { return parse_number(n, kLeaseBounds); });
  if (NodeRef boot = fields.find("boot")) settings.boot = read_boot(boot, faults);
  return settings;
}

PortServices port_services(const Host& host, const Tenant& tenant, const Port& port) {
  const GuestSettings& own = port.guests;
  const GuestSettings& wider = tenant.guests;
  const GuestSettings& widest = host.guests;
  PortServices services;
  services.dhcp = first_of(own.dhcp, wider.dhcp, widest.dhcp, true);
  services.router_advertisements =
      first_of(own.router_advertisements, wider.router_advertisements, widest.router_advertisements, true);
  services.dns = first_of(own.dns, wider.dns, widest.dns, {});
  services.ntp = first_of(own.ntp, wider.ntp, widest.ntp, {});
  services.domain = first_of(own.domain, wider.domain, widest.domain, {});
  services.lease_seconds = first_of(own.lease_seconds, wider.lease_seconds, widest.lease_seconds, uint32_t{86400});
  services.boot = first_of(own.boot, wider.boot, widest.boot, {});
  return services;
}

uint16_t guest_mtu(const Host& host, const Tenant& tenant) {
  if (tenant.mtu) return *tenant.mtu;
  return static_cast<uint16_t>(host.underlay.mtu - tunnel_overhead(host.underlay));
}

}  // namespace sepal::config
