// Generic netlink: families and multicast groups by name, requests and events of a family. What the commands and
// attributes of a family mean is its own file's (devlink.hpp, features.hpp). Governed by
// include/uapi/linux/genetlink.h and net/netlink/genetlink.c.
#pragma once

#include <linux/genetlink.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "netlink/channel.hpp"
#include "netlink/message.hpp"
#include "netlink/transport.hpp"

namespace sepal::netlink {

// A family as this kernel numbers it; the numbers hold until its module is loaded anew.
struct GenericFamily {
  std::string name;
  uint16_t id = 0;  // nlmsg_type of its messages
  uint8_t version = 0;
  std::map<std::string, uint32_t, std::less<>> groups;  // multicast groups by name
};

// Asks nlctrl; the kernel loads the family's module where it can. `generic` is a transport of NETLINK_GENERIC.
// Errc::unsupported: this kernel has no such family.
Result<GenericFamily> find_family(Transport& generic, std::string_view name);

//   nlmsghdr, type = family | genlmsghdr | attributes
class GenericRequest {
 public:
  GenericRequest(const GenericFamily& family, uint8_t command);
  MessageBuilder& attributes() { return message_; }
  // The request's bytes, once. Errc::internal when an attribute did not fit.
  Result<Bytes> take();

 private:
  Bytes bytes_;
  MessageBuilder message_;
};

struct GenericMessage {
  uint8_t command = 0;
  AttrTable attributes;  // a view of the message's bytes
};
// A message of `family` with its attributes up to `max`. Errc::protocol when it is of another family, or malformed.
Result<GenericMessage> read_generic(const GenericFamily& family, BytesView message, uint16_t max);

// A message is valid during the call only.
using GenericSink = std::function<Result<void>(const GenericMessage&)>;
// One request whose reply is one message, with attributes up to `max`. Errc::protocol: acknowledged without a reply.
Result<void> ask(Transport& generic, const GenericFamily& family, GenericRequest& request, uint16_t max,
                 const GenericSink& sink);
// A dump, repeated while the kernel's tables change under it; `restart` forgets what earlier attempts brought.
Result<void> dump(Transport& generic, const GenericFamily& family, GenericRequest& request, uint16_t max,
                  const std::function<void()>& restart, const GenericSink& sink);
// One request that changes something; the kernel's answer, its extended-ack text included.
Result<void> tell(Transport& generic, GenericRequest& request);

// Tells that something in a multicast group happened, and no more: what is so now is asked of the kernel.
class GenericMonitor {
 public:
  // Errc::unsupported: the family has no such group.
  static Result<GenericMonitor> open(const GenericFamily& family, std::string_view group);
  explicit GenericMonitor(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {}  // any channel, for tests

  // Borrowed: readable when drain() has something to tell.
  [[nodiscard]] int fd() const { return channel_->fd(); }
  // True: there were events since the last call, or some were lost. Never waits.
  Result<bool> drain();

 private:
  std::unique_ptr<Channel> channel_;
};

}  // namespace sepal::netlink
