// A NIC that falls out of bring-up while the daemon runs: `devlink dev reload` and the recovery of a fatal error leave
// it in legacy mode, a change of the number of VFs without representors. sepald has not the privileges to bring it up
// again; it says so, in the log and by writing DIRECTORY/INSTANCE.nic-lost, and sepal-nic.path starts who has.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "agent/paths.hpp"
#include "config/model.hpp"
#include "netlink/channel.hpp"
#include "netlink/links.hpp"

namespace sepal::agent {

// Why the configuration's NIC needs bring-up; nullopt: it does not, or it is not there at all (then nothing can be
// done). `sysfs` is a parameter for tests.
std::optional<std::string> nic_loss(const std::vector<netlink::Link>& links, const config::Config& config,
                                    const std::filesystem::path& sysfs = "/sys");

class NicWatch {
 public:
  using Clock = std::chrono::steady_clock;

  explicit NicWatch(const Paths& paths) : file_(paths.directory + "/" + paths.instance + ".nic-lost") {}

  // Takes what a look found: logs what is new, and writes the file, at once and then less and less often, for bring-up
  // may be refused for as long as somebody stands in its way.
  void take(const std::optional<std::string>& loss, Clock::time_point now);
  // What it was last told.
  [[nodiscard]] const std::optional<std::string>& loss() const { return loss_; }
  // When to look again at a NIC that is lost.
  [[nodiscard]] std::optional<Clock::time_point> next() const;

 private:
  std::string file_;
  std::optional<std::string> loss_;
  Clock::time_point next_{};
  std::chrono::seconds pause_{0};
};

}  // namespace sepal::agent
