// Rules within the Host document: the devices, the VLANs on the uplink, the gateways to the outside.
#include <array>

#include "base/limits.hpp"
#include "config/review.hpp"

namespace sepal::config {
namespace {

void check_vxlan(Review& review) {
  const Host& host = review.config.host;
  if (review.doubts.host.vxlan || review.doubts.host.underlay || host.vxlan.device != host.underlay.device) return;
  Location where = host.vxlan.where.line == 0 ? review.places.of(host.underlay.where, "device")
                                              : review.places.of(host.vxlan.where, "device");
  review.faults.add(where, "vxlan: device " + quoted(host.vxlan.device) + " is the underlay's device",
                    "name another; it is made when it is not there");
}

void check_nic(Review& review) {
  const Nic& nic = review.config.host.nic;
  if (review.doubts.host.nic || nic.only.empty() || nic.only.back() < nic.vfs) return;
  review.faults.add(review.places.of(nic.where, "only"),
                    "nic: only: VF " + std::to_string(nic.only.back()) + " is not there, because the NIC has " +
                        std::to_string(nic.vfs),
                    "use 0 to " + std::to_string(nic.vfs - 1) + ", or raise nic.vfs");
}

void check_underlay(Review& review) {
  const Underlay& underlay = review.config.host.underlay;
  if (review.doubts.host.underlay || underlay.address.is_v4() || underlay.mtu >= limits::kMtuMinIpv6) return;
  review.faults.add(review.places.of(underlay.where, "mtu"),
                    "underlay: mtu " + std::to_string(underlay.mtu) + " is too small for IPv6",
                    "write at least " + std::to_string(limits::kMtuMinIpv6));
}

void check_public_vlan(Review& review, const Public& outside) {
  const Underlay& underlay = review.config.host.underlay;
  if (review.doubts.host.underlay || !outside.vlan || outside.vlan != underlay.vlan) return;
  review.faults.add(review.places.of(outside.where, "vlan"),
                    "public: VLAN " + std::to_string(outside.vlan->value()) + " is the underlay's",
                    "give the outside a VLAN of its own, or leave vlan out where its frames are untagged");
}

void check_gateways(Review& review, const Public& outside) {
  std::array<bool, 2> seen{};
  for (size_t i = 0; i < outside.gateways.size(); ++i) {
    const IpAddr& gateway = outside.gateways[i];
    Location where = review.places.of(outside.where, "gateway", i);
    bool& family = seen[static_cast<size_t>(gateway.family)];
    if (family) {
      review.faults.add(where, "public: " + gateway.to_string() + " is a second gateway of its family",
                        "keep one IPv4 and one IPv6 gateway at most");
    }
    family = true;
    if (!review.doubts.host.underlay && gateway == review.config.host.underlay.address) {
      review.faults.add(where, "public: gateway " + gateway.to_string() + " is this hypervisor's own tunnel address",
                        "write the address of the router outside");
    }
  }
}

}  // namespace

void validate_host(Review& review) {
  check_nic(review);
  check_vxlan(review);
  check_underlay(review);
  const auto& outside = review.config.host.public_net;
  if (!outside || review.doubts.host.public_net) return;
  check_public_vlan(review, *outside);
  check_gateways(review, *outside);
}

}  // namespace sepal::config
