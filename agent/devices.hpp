// The devices of this network namespace between passes: listed once, then kept as they are by the kernel's own events.
// A device is never trusted by its number alone: one that left and came back (moved through another namespace, say) has
// its number still and its filters no more, so who left is told as well.
#pragma once

#include <functional>
#include <set>
#include <vector>

#include "netlink/link_monitor.hpp"
#include "netlink/links.hpp"

namespace sepal::agent {

class Devices {
 public:
  // What happened to devices since the last call; never waits. Empty: nobody listens, and nothing is remembered.
  using Heard = std::function<Result<netlink::LinkChanges>()>;
  void set_events(Heard heard) { heard_ = std::move(heard); }

  // A list is about to be made elsewhere: what happened up to here will be in it.
  void begin_list();
  // That list. Without begin_list() before it, it is not kept.
  void keep_list(std::vector<netlink::Link> links);
  void forget() { known_ = begun_ = false; }
  [[nodiscard]] bool known() const { return known_; }

  struct Update {
    bool known = false;      // false: the picture is not to be trusted; a list must be made
    std::set<IfIndex> gone;  // devices that left since the last update
  };
  // Asks the kernel for those devices alone that something happened to.
  Update update(netlink::Transport& route);

  // Sorted by index; as the last update left them.
  [[nodiscard]] const std::vector<netlink::Link>& links() const { return links_; }

 private:
  bool refresh(netlink::Transport& route, IfIndex device);

  Heard heard_;
  std::vector<netlink::Link> links_;
  bool known_ = false;
  bool begun_ = false;
};

}  // namespace sepal::agent
