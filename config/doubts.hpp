// What could not be read and is therefore unknown rather than absent. validate() stays silent where a rule's premise is
// in doubt, so that one slip is one line and not ten.
#pragma once

#include <vector>

namespace sepal::config {

struct HostDoubts {
  bool nic = false;
  bool underlay = false;
  bool vxlan = false;
  bool public_net = false;
};

struct TenantDoubts {
  bool identity = false;  // name, vni or a key that nobody knows
  bool mtu = false;
  bool subnets = false;
  bool ports = false;
  bool vlans = false;
  bool routes = false;
  bool nat = false;
  bool peers = false;
  bool groups = false;
};

struct Doubts {
  bool documents = false;  // a file or a document was not read: any tenant may be missing
  HostDoubts host;
  std::vector<TenantDoubts> tenants;  // as Config::tenants
};

}  // namespace sepal::config
