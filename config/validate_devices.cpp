// Which port sits on which device: one port per representor, none on the uplink or the vxlan device, VFs in number.
#include "config/review.hpp"

namespace sepal::config {
namespace {

std::string owner_of(const Tenant& tenant, const Port& port) {
  return "port " + quoted(port.name) + " of " + quoted(tenant.name);
}

void check_vf(Review& review, const Port& port, Location where) {
  const Nic& nic = review.config.host.nic;
  if (review.doubts.host.nic) return;
  std::string what = "port " + quoted(port.name) + ": vf " + std::to_string(*port.vf);
  if (nic.manual_representors) {
    review.faults.add(where, what + " needs a NIC, but representors are manual",
                      "name the representor by device: NAME, or declare nic: {pci: …, vfs: …} in the Host document");
  } else if (*port.vf >= nic.vfs) {
    review.faults.add(where, what + " is not there, because the NIC has " + std::to_string(nic.vfs),
                      "use 0 to " + std::to_string(nic.vfs - 1) + ", or raise nic.vfs");
  } else if (!nic.owns(*port.vf)) {
    review.faults.add(where, what + " is not ours", "use one of nic.only, or add it there");
  }
}

void check_device(Review& review, const Port& port, Location where) {
  const Host& host = review.config.host;
  std::string what = "port " + quoted(port.name) + ": device " + quoted(port.device) + " is the ";
  std::string hint = "name the guest's own representor";
  if (!review.doubts.host.underlay && port.device == host.underlay.device) {
    review.faults.add(where, what + "underlay's", hint);
  } else if (!review.doubts.host.vxlan && port.device == host.vxlan.device) {
    review.faults.add(where, what + "vxlan device", hint);
  }
}

}  // namespace

void validate_devices(Review& review) {
  std::map<std::string, Claim> claims;  // "vf 3", "device 'web-0'"
  auto take = [&](const std::string& thing, const Claim& mine) {
    claim(claims, thing, mine, [&](const Claim& later, const Claim& earlier) {
      review.faults.add(later.where,
                        later.owner + ": " + thing + " is taken by " + earlier.owner + review.stands_at(earlier.where),
                        "a representor belongs to one port");
    });
  };
  for (const Tenant& tenant : review.config.tenants) {
    for (const Port& port : tenant.ports) {
      if (port.vf) {
        Location where = review.places.of(port.where, "vf");
        check_vf(review, port, where);
        take("vf " + std::to_string(*port.vf), {where, owner_of(tenant, port)});
      }
      if (!port.device.empty()) {
        Location where = review.places.of(port.where, "device");
        check_device(review, port, where);
        take("device " + quoted(port.device), {where, owner_of(tenant, port)});
      }
    }
  }
}

}  // namespace sepal::config
