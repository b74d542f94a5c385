// Feature bits are asked for by name, never by number: numbers differ between kernels (NETIF_F_* are not uapi).
#include "netlink/features.hpp"

#include <linux/ethtool_netlink.h>

namespace sepal::netlink {
namespace {

constexpr std::string_view kFeature = "hw-tc-offload";

//   ETHTOOL_A_FEATURES_HEADER { ETHTOOL_A_HEADER_DEV_INDEX, ETHTOOL_A_HEADER_FLAGS }
void put_header(MessageBuilder& message, IfIndex device, uint32_t flags) {
  auto header = message.nest(ETHTOOL_A_FEATURES_HEADER);
  message.put_u32(ETHTOOL_A_HEADER_DEV_INDEX, device.value());
  if (flags != 0) message.put_u32(ETHTOOL_A_HEADER_FLAGS, flags);
}

//   bitset { ETHTOOL_A_BITSET_BITS { ETHTOOL_A_BITSET_BITS_BIT { BIT_INDEX, BIT_NAME, BIT_VALUE? } … } }
// A list without a mask names the bits that are set; with a mask, BIT_VALUE tells.
Result<bool> has_bit(const Attr* bitset) {
  if (bitset == nullptr) return false;
  auto set = AttrTable::parse(bitset->payload, ETHTOOL_A_BITSET_MAX);
  if (!set) return Unexpected(set.error());
  const bool all_set = set->find(ETHTOOL_A_BITSET_NOMASK) != nullptr;
  const Attr* bits = set->find(ETHTOOL_A_BITSET_BITS);
  if (bits == nullptr) return false;
  bool found = false;
  auto read = for_each_attr(bits->payload, [&](const Attr& entry) -> Result<void> {
    auto bit = AttrTable::parse(entry.payload, ETHTOOL_A_BITSET_BIT_MAX);
    if (!bit) return Unexpected(bit.error());
    const Attr* name = bit->find(ETHTOOL_A_BITSET_BIT_NAME);
    if (name == nullptr || name->string() != kFeature) return {};
    found = all_set || bit->find(ETHTOOL_A_BITSET_BIT_VALUE) != nullptr;
    return {};
  });
  if (!read) return Unexpected(read.error());
  return found;
}

Unexpected feature_failure(Error error, std::string_view what, IfIndex device) {
  return Unexpected(while_doing(std::move(error), std::string(what) + " " + std::string(kFeature) + " of device " +
                                                      std::to_string(device.value())));
}

}  // namespace

// The kernel counts a feature that is fixed to one value as nobody's: HW lists what can be changed, ACTIVE what is on.
Result<TcOffload> get_tc_offload(Transport& generic, const GenericFamily& ethtool, IfIndex device) {
  GenericRequest request(ethtool, ETHTOOL_MSG_FEATURES_GET);
  put_header(request.attributes(), device, 0);
  TcOffload offload;
  auto asked =
      ask(generic, ethtool, request, ETHTOOL_A_FEATURES_MAX, [&offload](const GenericMessage& reply) -> Result<void> {
        auto changeable = has_bit(reply.attributes.find(ETHTOOL_A_FEATURES_HW));
        if (!changeable) return Unexpected(changeable.error());
        auto active = has_bit(reply.attributes.find(ETHTOOL_A_FEATURES_ACTIVE));
        if (!active) return Unexpected(active.error());
        offload = {*changeable || *active, *active};
        return {};
      });
  if (!asked) return feature_failure(asked.error(), "ask for", device);
  return offload;
}

//   ETHTOOL_A_FEATURES_WANTED { ETHTOOL_A_BITSET_BITS { ETHTOOL_A_BITSET_BITS_BIT { BIT_NAME, BIT_VALUE? } } }
// Without NOMASK the list is value and mask: other features stay as they are.
Result<void> set_tc_offload(Transport& generic, const GenericFamily& ethtool, IfIndex device, bool on) {
  GenericRequest request(ethtool, ETHTOOL_MSG_FEATURES_SET);
  MessageBuilder& message = request.attributes();
  put_header(message, device, ETHTOOL_FLAG_OMIT_REPLY);
  {
    auto wanted = message.nest(ETHTOOL_A_FEATURES_WANTED);
    auto bits = message.nest(ETHTOOL_A_BITSET_BITS);
    auto bit = message.nest(ETHTOOL_A_BITSET_BITS_BIT);
    message.put_string(ETHTOOL_A_BITSET_BIT_NAME, kFeature);
    if (on) message.put_flag(ETHTOOL_A_BITSET_BIT_VALUE);
  }
  auto told = tell(generic, request);
  if (!told) return feature_failure(told.error(), on ? "switch on" : "switch off", device);
  return {};
}

}  // namespace sepal::netlink
