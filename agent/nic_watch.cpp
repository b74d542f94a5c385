// See nic_watch.hpp.
#include "agent/nic_watch.hpp"

#include <algorithm>
#include <fstream>

#include "base/log.hpp"

namespace sepal::agent {
namespace {

constexpr std::chrono::seconds kPauseMin{10};
constexpr std::chrono::seconds kPauseMax{300};

}  // namespace

std::optional<std::string> nic_loss(const std::vector<netlink::Link>& links, const config::Config& config,
                                    const std::filesystem::path& sysfs) {
  const config::Nic& nic = config.host.nic;
  if (nic.manual_representors) return std::nullopt;
  const auto representors = netlink::find_representors(links, nic.pci, sysfs);
  // not_found: no such function, or none of its devices yet. When they come, links change.
  if (!representors) {
    if (representors.error().code == Errc::not_found) return std::nullopt;
    return "NIC " + nic.pci + " is not in switchdev mode";
  }
  for (const config::Tenant& tenant : config.tenants)
    for (const config::Port& port : tenant.ports)
      if (port.vf && !representors->contains(*port.vf))
        return "NIC " + nic.pci + " has no representor of VF " + std::to_string(*port.vf) + " (tenant " + tenant.name +
               ", port " + port.name + ")";
  return std::nullopt;
}

void NicWatch::take(const std::optional<std::string>& loss, Clock::time_point now) {
  if (!loss) {
    if (!loss_) return;
    log::notice("nic-back", "the NIC is in service again");
    std::error_code ignored;
    std::filesystem::remove(file_, ignored);
    loss_.reset();
    return;
  }
  if (loss != loss_) {
    log::warning("nic-lost",
                 *loss + ": it needs `sepalctl nic apply`, which sepal-nic.path starts where it is enabled");
    if (!loss_) {
      next_ = now;
      pause_ = kPauseMin;
    }
    loss_ = loss;
  }
  if (now < next_) return;
  std::ofstream(file_) << *loss << '\n';
  next_ = now + pause_;
  pause_ = std::min(pause_ * 2, kPauseMax);
}

std::optional<NicWatch::Clock::time_point> NicWatch::next() const {
  if (!loss_) return std::nullopt;
  return next_;
}

}  // namespace sepal::agent
