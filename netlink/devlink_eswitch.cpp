// Reading and setting an eSwitch's three modes.
#include "netlink/devlink_handle.hpp"

namespace sepal::netlink {

static_assert(static_cast<int>(EswitchMode::switchdev) == DEVLINK_ESWITCH_MODE_SWITCHDEV);
static_assert(static_cast<int>(InlineMode::transport) == DEVLINK_ESWITCH_INLINE_MODE_TRANSPORT);

Result<Eswitch> get_eswitch(Devlink devlink, std::string_view pci) {
  GenericRequest request(devlink.family, DEVLINK_CMD_ESWITCH_GET);
  put_handle(request, pci);
  Eswitch eswitch;
  auto asked = ask(devlink.generic, devlink.family, request, DEVLINK_ATTR_MAX, [&](const GenericMessage& reply) {
    const Attr* mode = reply.attributes.find(DEVLINK_ATTR_ESWITCH_MODE);
    const Attr* inline_mode = reply.attributes.find(DEVLINK_ATTR_ESWITCH_INLINE_MODE);
    const Attr* encap = reply.attributes.find(DEVLINK_ATTR_ESWITCH_ENCAP_MODE);
    if (mode != nullptr && mode->u16() && *mode->u16() <= DEVLINK_ESWITCH_MODE_SWITCHDEV) {
      eswitch.mode = static_cast<EswitchMode>(*mode->u16());
    }
    if (inline_mode != nullptr && inline_mode->u8() && *inline_mode->u8() <= DEVLINK_ESWITCH_INLINE_MODE_TRANSPORT) {
      eswitch.inline_mode = static_cast<InlineMode>(*inline_mode->u8());
    }
    if (encap != nullptr && encap->u8()) eswitch.encap = *encap->u8() != DEVLINK_ESWITCH_ENCAP_MODE_NONE;
    return Result<void>{};
  });
  if (!asked) return devlink_failure(asked.error(), pci, "ask for the eSwitch's mode");
  return eswitch;
}

Result<void> set_eswitch(Devlink devlink, std::string_view pci, const Eswitch& wanted) {
  GenericRequest request(devlink.family, DEVLINK_CMD_ESWITCH_SET);
  put_handle(request, pci);
  MessageBuilder& message = request.attributes();
  if (wanted.mode) message.put_u16(DEVLINK_ATTR_ESWITCH_MODE, static_cast<uint16_t>(*wanted.mode));
  if (wanted.inline_mode) message.put_u8(DEVLINK_ATTR_ESWITCH_INLINE_MODE, static_cast<uint8_t>(*wanted.inline_mode));
  if (wanted.encap) {
    message.put_u8(DEVLINK_ATTR_ESWITCH_ENCAP_MODE,
                   *wanted.encap ? DEVLINK_ESWITCH_ENCAP_MODE_BASIC : DEVLINK_ESWITCH_ENCAP_MODE_NONE);
  }
  auto told = tell(devlink.generic, request);
  if (!told) return devlink_failure(told.error(), pci, "set the eSwitch");
  return {};
}

}  // namespace sepal::netlink
