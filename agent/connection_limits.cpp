// See connection_limits.hpp.
#include "agent/connection_limits.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "agent/changes.hpp"
#include "base/log.hpp"
#include "netlink/conntrack.hpp"

namespace sepal::agent {
namespace {

constexpr std::chrono::seconds kPause{2};
constexpr int kShare = 50;                   // of the time, that counting may take
constexpr std::chrono::seconds kLapses{30};  // what was said last, when nothing follows
constexpr uint64_t kFreeAgainPercent = 90;   // of the bound: so that a tenant at its bound is not a line every look

}  // namespace

void ConnectionLimits::follow(const config::Config& config, const SavedState& served, Clock::time_point now) {
  std::map<Vni, Bound> bounds;
  for (const config::Tenant& tenant : config.tenants) {
    const auto limit = tenant.connections ? tenant.connections : config.host.limits.connections;
    const auto known = served.tenants.find(tenant.vni);
    if (!limit || known == served.tenants.end()) continue;
    const Zone zone = known->second.zone;
    Bound& bound = bounds[tenant.vni];
    // A count holds for its zone, whatever the bound is now.
    if (const auto before = bounds_.find(tenant.vni); before != bounds_.end() && before->second.zone == zone)
      bound = before->second;
    bound.tenant = tenant.name;
    bound.zone = zone;
    bound.limit = *limit;
  }
  const bool same =
      std::equal(bounds.begin(), bounds.end(), bounds_.begin(), bounds_.end(), [](const auto& a, const auto& b) {
        return a.first == b.first && a.second.zone == b.second.zone && a.second.limit == b.second.limit &&
               a.second.tenant == b.second.tenant;
      });
  bounds_ = std::move(bounds);
  if (same && !std::exchange(fresh_, false)) return;
  fresh_ = false;
  if (bounds_.empty()) {
    next_.reset();
    // Nobody asks any more; an entry that stays lapses.
    (void)kernel_.slow_path.begun({});
    return;
  }
  look(now);
}

std::optional<ConnectionLimits::Clock::time_point> ConnectionLimits::next() const { return next_; }

void ConnectionLimits::look(Clock::time_point now) {
  if (bounds_.empty()) return;
  Clock::duration pause = kPause;
  if (auto given = give(now, pause)) {
    failed_.clear();
  } else if (const std::string message = given.error().message(); std::exchange(failed_, message) != message) {
    // A fault that lasts is one line, not one per look.
    log::error("connections-unbounded", message + "; no tenant's connections are bounded until this works");
  }
  next_ = now + pause;
}

Result<void> ConnectionLimits::give(Clock::time_point now, Clock::duration& pause) {
  std::set<Vni> vnis;
  for (const auto& [vni, bound] : bounds_) vnis.insert(vni);
  const auto begun = kernel_.slow_path.begun(vnis);
  if (!begun) return Unexpected(begun.error());
  const bool due = std::any_of(bounds_.begin(), bounds_.end(), [&begun](const auto& entry) {
    const auto& [vni, bound] = entry;
    return !bound.counted || bound.full || (begun->at(vni) - bound.begun) * 2 >= bound.room();
  });
  if (due) {
    const auto begin = Clock::now();
    if (auto counted = count(*begun); !counted) return counted;
    pause = std::max<Clock::duration>(pause, (Clock::now() - begin) * kShare);
  }
  for (auto& [vni, bound] : bounds_) {
    const auto given = kernel_.slow_path.bound(vni, bound.begun + bound.room(), now + 2 * pause + kLapses);
    if (!given) return given;
    tell(bound, begun->at(vni));
  }
  return {};
}

// What begins while this reads is in `begun` of the next look and may be in this count too: never too few.
Result<void> ConnectionLimits::count(const std::map<Vni, uint64_t>& begun) {
  std::map<Zone, uint64_t> by_zone;
  auto read = netlink::for_each_connection(
      kernel_.netfilter, [&by_zone](const netlink::Connection& connection) { ++by_zone[connection.zone]; });
  if (!read) return Unexpected(while_doing(read.error(), "count connections"));
  for (auto& [vni, bound] : bounds_) {
    bound.counted = by_zone[bound.zone];
    bound.begun = begun.at(vni);
  }
  return {};
}

void ConnectionLimits::tell(Bound& bound, uint64_t begun) {
  const uint64_t has = *bound.counted + (begun - bound.begun);
  if (!bound.full && has >= bound.limit) {
    bound.full = true;
    log::warning("tenant-full", "tenant " + bound.tenant + " has " + count_text(has, "connection") +
                                    ", as many as limits.connections allows: until some end, others are dropped "
                                    "(too-many-connections)");
  } else if (bound.full && has * 100 <= bound.limit * kFreeAgainPercent) {
    bound.full = false;
    log::notice("tenant-has-room", "tenant " + bound.tenant + " has " + count_text(has, "connection") + " of " +
                                       std::to_string(bound.limit));
  }
}

nlohmann::json ConnectionLimits::to_json() const {
  nlohmann::json tenants = nlohmann::json::array();
  for (const auto& [vni, bound] : bounds_) {
    nlohmann::json one{{"tenant", bound.tenant}, {"limit", bound.limit}, {"full", bound.full}};
    if (bound.counted) one["counted"] = *bound.counted;
    tenants.push_back(std::move(one));
  }
  return tenants;
}

}  // namespace sepal::agent
