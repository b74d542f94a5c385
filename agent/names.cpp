// Fills and asks the tables of names.
#include "agent/names.hpp"

namespace sepal::agent {

std::string to_string(const config::Via& via) {
  struct Words {
    std::string operator()(const config::ViaVtep& v) const { return v.address.to_string(); }
    std::string operator()(const config::ViaPort& v) const { return "port " + v.port; }
    std::string operator()(const config::ViaVlan& v) const { return "vlan " + std::to_string(v.vlan.value()); }
    std::string operator()(const config::ViaPublic& /*v*/) const { return "public"; }
    std::string operator()(const config::ViaBlackhole& /*v*/) const { return "blackhole"; }
  };
  return std::visit(Words{}, via);
}

Names::Names(const config::Config* config, const std::map<tc::PortKey, IfIndex>& ports,
             std::map<IfIndex, std::string> devices)
    : devices_(std::move(devices)) {
  for (const auto& [port, index] : ports) ports_.emplace(index, port);
  if (config == nullptr) return;
  files_ = config->files;
  const config::Host& host = config->host;
  add_object(host.where, "", "host");
  add_object(host.nic.where, "", "nic");
  add_object(host.underlay.where, "", "underlay " + host.underlay.device);
  add_object(host.vxlan.where, "", "vxlan " + host.vxlan.device);
  if (host.public_net) add_object(host.public_net->where, "", "public network");
  for (const config::Tenant& tenant : config->tenants) add_tenant(tenant);
}

void Names::add_tenant(const config::Tenant& tenant) {
  tenants_.emplace(tenant.vni, tenant.name);
  add_object(tenant.where, tenant.name, "tenant");
  for (const auto& subnet : tenant.subnets)
    add_object(subnet.where, tenant.name, "subnet " + subnet.prefix.to_string());
  for (const auto& port : tenant.ports) add_object(port.where, tenant.name, "port " + port.name);
  for (const auto& vlan : tenant.vlans) add_object(vlan.where, tenant.name, "vlan " + std::to_string(vlan.id.value()));
  for (const auto& route : tenant.routes) {
    std::string text = "route " + route.to.to_string() + " via " + to_string(route.via);
    if (route.vni) text += " vni " + std::to_string(route.vni->value());
    add_object(route.where, tenant.name, std::move(text));
  }
  for (const auto& nat : tenant.nat) {
    std::string text = "nat " + nat.from.to_string() + " to " + nat.address.to_string();
    if (nat.ports) text += " ports " + nat.ports->to_string();
    add_object(nat.where, tenant.name, std::move(text));
  }
}

void Names::add_object(const config::Location& where, const std::string& tenant, std::string text) {
  if (where.line != 0) objects_.emplace(key(where), ObjectName{tenant, std::move(text)});
}

std::optional<std::string> Names::tenant_name(Vni vni) const {
  const auto found = tenants_.find(vni);
  if (found == tenants_.end()) return std::nullopt;
  return found->second;
}

std::optional<Vni> Names::vni_of(const std::string& tenant) const {
  for (const auto& [vni, name] : tenants_)
    if (name == tenant) return vni;
  return std::nullopt;
}

std::string Names::tenant(Vni vni) const {
  if (vni.value() == 0) return "host";
  const auto name = tenant_name(vni);
  return name ? "tenant " + *name : "vni " + std::to_string(vni.value());
}

std::string Names::device(IfIndex index) const {
  const auto found = devices_.find(index);
  return found == devices_.end() ? "device " + std::to_string(index.value()) : found->second;
}

const tc::PortKey* Names::port_on(IfIndex index) const {
  const auto found = ports_.find(index);
  return found == ports_.end() ? nullptr : &found->second;
}

const ObjectName* Names::object(const config::Location& where) const {
  if (where.line == 0) return nullptr;
  const auto found = objects_.find(key(where));
  return found == objects_.end() ? nullptr : &found->second;
}

std::string Names::place(const config::Location& where) const {
  if (where.line == 0 || where.file >= files_.size()) return {};
  return files_[where.file] + ":" + std::to_string(where.line) + ":" + std::to_string(where.column);
}

std::string Names::purpose(const tc::Origin& origin) const {
  std::string text = tenant(origin.vni);
  const ObjectName* named = object(origin.where);
  if (named != nullptr && named->text != "tenant" && named->text != "host") text += ", " + named->text;
  const std::string at = place(origin.where);
  if (!at.empty()) text += " (" + at + ")";
  return text;
}

}  // namespace sepal::agent
