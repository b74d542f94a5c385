// Events name devices, one get for each tells how it is now.
#include "agent/devices.hpp"

#include <algorithm>

namespace sepal::agent {
namespace {

// Beyond this many one dump of all is cheaper than a get for each, and seldom anything is as it was.
constexpr size_t kRefreshMax = 64;

}  // namespace

void Devices::begin_list() {
  forget();
  if (!heard_) return;
  const auto heard = heard_();
  begun_ = heard.has_value();
}

void Devices::keep_list(std::vector<netlink::Link> links) {
  if (!begun_) return;
  begun_ = false;
  known_ = true;
  links_ = std::move(links);
}

Devices::Update Devices::update(netlink::Transport& route) {
  if (!known_) return {};
  auto heard = heard_();
  if (!heard || heard->overrun || heard->devices.size() > kRefreshMax) {
    forget();
    return {};
  }
  for (IfIndex device : heard->devices) {
    if (refresh(route, device)) continue;
    forget();
    return {};
  }
  return {true, std::move(heard->gone)};
}

bool Devices::refresh(netlink::Transport& route, IfIndex device) {
  auto now = netlink::get_link(route, device);
  const auto at = std::lower_bound(links_.begin(), links_.end(), device,
                                   [](const netlink::Link& link, IfIndex index) { return link.index < index; });
  const bool known = at != links_.end() && at->index == device;
  if (!now) {
    if (now.error().code != Errc::not_found) return false;
    if (known) links_.erase(at);
  } else if (known) {
    *at = std::move(*now);
  } else {
    links_.insert(at, std::move(*now));
  }
  return true;
}

}  // namespace sepal::agent
