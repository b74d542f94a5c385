// A reconciler that follows changes from memory, and devices that come and go under it.
#pragma once

#include <filesystem>
#include <utility>

#include "agent/removal.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {

class FollowTest : public AgentTest {
 protected:
  // A reconciler that hears of devices as a daemon does.
  Reconciler listening() {
    Reconciler made = reconciler();
    made.set_device_events([this]() -> Result<netlink::LinkChanges> { return std::exchange(heard_, {}); });
    return made;
  }

  PassReport followed(Reconciler& reconciler, const config::Config& config) {
    auto report = reconciler.follow(config, {});
    EXPECT_TRUE(report.has_value()) << (report ? "" : report.error().message());
    return report ? *report : PassReport{};
  }

  IfIndex add_device(const std::string& name) {
    const IfIndex device = kernel_.add_link(name);
    heard_.devices.insert(device);
    return device;
  }

  void remove_filters(IfIndex device) {
    kernel_.clsact.erase(device);
    std::erase_if(kernel_.filters, [&](const auto& entry) { return entry.first.device == device; });
  }

  void remove_device(IfIndex device) {
    kernel_.links.erase(device);
    remove_filters(device);
    heard_.devices.insert(device);
    heard_.gone.insert(device);
  }

  // What a new process, which believes nothing, would still write.
  uint64_t writes_of_a_look(const config::Config& config) {
    std::filesystem::remove(paths_.last);
    const uint64_t before = kernel_.writes();
    apply(config);
    return kernel_.writes() - before;
  }

  netlink::LinkChanges heard_;
};

inline config::Config blue(const std::string& ports) {
  return read_config(kHostYaml + kBlueHead + ports + kRemoteRoute + kGreen);
}

}  // namespace sepal::agent
