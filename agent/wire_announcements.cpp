// See wire_announcements.hpp.
#include "agent/wire_announcements.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "guest/announcement.hpp"

namespace sepal::agent {
namespace {

constexpr unsigned kTimes = 2;
constexpr std::chrono::seconds kPause{1};
// A wire is shared: no more than some thousand in a second.
constexpr size_t kPerTurn = 64;
constexpr std::chrono::milliseconds kTurnPause{20};

}  // namespace

// Where the uplink answers (the pipeline's NeighbourEntry list), but for whole prefixes of ports.
std::set<WireAnnouncements::OnWire> WireAnnouncements::behind(const config::Config& config,
                                                              const std::map<tc::PortKey, IfIndex>& ports) {
  std::set<OnWire> found;
  const auto& outside = config.host.public_net;
  for (const config::Tenant& tenant : config.tenants) {
    if (!tenant.vlans.empty()) {
      for (const config::Port& port : tenant.ports) {
        if (port.mac.is_zero() || !ports.contains({tenant.name, port.name})) continue;
        for (const config::TenantVlan& vlan : tenant.vlans)
          for (const IpAddr& address : port.addresses) found.emplace(vlan.id, address);
      }
    }
    if (!outside || !outside->answer_arp) continue;
    for (const config::Nat& nat : tenant.nat) found.emplace(outside->vlan.value_or(Vid()), nat.address);
  }
  return found;
}

void WireAnnouncements::follow(const config::Config& config, const std::map<tc::PortKey, IfIndex>& ports,
                               const Wire& wire, Clock::time_point now) {
  std::set<OnWire> now_behind = behind(config, ports);
  if (wire != wire_) known_.clear();
  wire_ = wire;
  std::erase_if(due_, [&](const auto& due) { return !now_behind.contains(due.first); });
  for (const OnWire& address : now_behind)
    if (!known_.contains(address)) due_[address] = {now, kTimes};
  known_ = std::move(now_behind);
}

std::optional<WireAnnouncements::Clock::time_point> WireAnnouncements::next() const {
  if (due_.empty() || wire_.device == IfIndex()) return std::nullopt;
  const auto first = std::min_element(due_.begin(), due_.end(),
                                      [](const auto& a, const auto& b) { return a.second.at < b.second.at; });
  return std::max(first->second.at, not_before_);
}

void WireAnnouncements::announce(Clock::time_point now) {
  if (now < not_before_ || wire_.device == IfIndex()) return;
  size_t made = 0;
  for (auto at = due_.begin(); at != due_.end() && made < kPerTurn;) {
    auto& [address, due] = *at;
    if (due.at > now) {
      ++at;
      continue;
    }
    ++made;
    if (const auto frame = guest::address_announcement(address.second, wire_.mac, address.first)) {
      if (auto sent = send_(wire_.device, *frame))
        ++announced_;
      else
        log::debug("wire-unsent", sent.error().message());
    }
    due.at = now + kPause;
    if (--due.times == 0)
      at = due_.erase(at);
    else
      ++at;
  }
  if (made > 0) not_before_ = now + kTurnPause;
}

}  // namespace sepal::agent
