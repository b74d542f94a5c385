// Who is who, for people: tenants behind VNIs, ports and devices behind interface indexes, objects of the YAML behind
// the places rules come from. Built from a configuration and a look at the kernel; either may be missing.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "config/model.hpp"
#include "tc/pipeline/pipeline.hpp"

namespace sepal::agent {

struct ObjectName {
  std::string tenant;  // empty: the host's own
  std::string text;    // "port web-0", "route 10.0.0.2/32 via 192.0.2.2"
};

class Names {
 public:
  Names() = default;
  // `ports` and `devices` as a look found them.
  Names(const config::Config* config, const std::map<tc::PortKey, IfIndex>& ports,
        std::map<IfIndex, std::string> devices);

  [[nodiscard]] std::optional<std::string> tenant_name(Vni vni) const;
  [[nodiscard]] std::optional<Vni> vni_of(const std::string& tenant) const;
  [[nodiscard]] std::string tenant(Vni vni) const;        // "tenant blue", "vni 100" when unknown, "host" for VNI 0
  [[nodiscard]] std::string device(IfIndex index) const;  // "veth0", "device 7" when unknown
  [[nodiscard]] const tc::PortKey* port_on(IfIndex index) const;
  [[nodiscard]] const ObjectName* object(const config::Location& where) const;  // null: the pipeline's own
  [[nodiscard]] std::string place(const config::Location& where) const;         // "blue.yaml:7:12", empty when none
  // "tenant blue, port web-0 (blue.yaml:7:12)": what a compiled rule is for.
  [[nodiscard]] std::string purpose(const tc::Origin& origin) const;

 private:
  using PlaceKey = std::tuple<uint32_t, uint32_t, uint32_t>;
  static PlaceKey key(const config::Location& where) { return {where.file, where.line, where.column}; }
  void add_tenant(const config::Tenant& tenant);
  void add_object(const config::Location& where, const std::string& tenant, std::string text);

  std::map<Vni, std::string> tenants_;
  std::map<PlaceKey, ObjectName> objects_;
  std::map<IfIndex, tc::PortKey> ports_;
  std::map<IfIndex, std::string> devices_;
  std::vector<std::string> files_;
};

std::string to_string(const config::Via& via);  // "192.0.2.2", "port db-1", "vlan 30", "public", "blackhole"

}  // namespace sepal::agent
