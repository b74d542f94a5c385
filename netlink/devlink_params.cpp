// Parameters in mode runtime, and the versions of driver and firmware.
#include <libmnl/libmnl.h>

#include <cerrno>

#include "netlink/devlink_handle.hpp"

namespace sepal::netlink {
namespace {

// devlink's parameter types are the kernel's NLA_* numbers, which libmnl repeats: a flag is a boolean.
constexpr uint8_t kTypeU8 = MNL_TYPE_U8;
constexpr uint8_t kTypeU16 = MNL_TYPE_U16;
constexpr uint8_t kTypeU32 = MNL_TYPE_U32;
constexpr uint8_t kTypeText = MNL_TYPE_STRING;
constexpr uint8_t kTypeBool = MNL_TYPE_FLAG;

std::optional<ParamValue> read_value(uint8_t type, const Attr* data) {
  if (type == kTypeBool) return ParamValue(data != nullptr);  // a flag: there or not
  if (data == nullptr) return std::nullopt;
  if (type == kTypeText) return ParamValue(std::string(data->string()));
  std::optional<uint32_t> number;
  if (type == kTypeU8) number = data->u8();
  if (type == kTypeU16) number = data->u16();
  if (type == kTypeU32) number = data->u32();
  return number ? std::optional(ParamValue(*number)) : std::nullopt;
}

//   DEVLINK_ATTR_PARAM { PARAM_NAME, PARAM_TYPE,
//                        PARAM_VALUES_LIST { PARAM_VALUE { PARAM_VALUE_DATA, PARAM_VALUE_CMODE } … } }
Result<std::optional<ParamValue>> read_param(const AttrTable& reply) {
  const Attr* nest = reply.find(DEVLINK_ATTR_PARAM);
  auto param = AttrTable::parse(nest == nullptr ? BytesView{} : nest->payload, DEVLINK_ATTR_MAX);
  if (!param) return Unexpected(param.error());
  const Attr* type = param->find(DEVLINK_ATTR_PARAM_TYPE);
  const Attr* values = param->find(DEVLINK_ATTR_PARAM_VALUES_LIST);
  std::optional<ParamValue> found;
  if (type == nullptr || values == nullptr) return found;
  auto read = for_each_attr(values->payload, [&](const Attr& entry) -> Result<void> {
    auto value = AttrTable::parse(entry.payload, DEVLINK_ATTR_MAX);
    if (!value) return Unexpected(value.error());
    const Attr* cmode = value->find(DEVLINK_ATTR_PARAM_VALUE_CMODE);
    if (cmode == nullptr || cmode->u8() != DEVLINK_PARAM_CMODE_RUNTIME) return {};
    found = read_value(type->u8().value_or(0), value->find(DEVLINK_ATTR_PARAM_VALUE_DATA));
    return {};
  });
  if (!read) return Unexpected(read.error());
  return found;
}

Result<void> read_version(const Attr& nest, std::map<std::string, std::string>& versions) {
  auto version = AttrTable::parse(nest.payload, DEVLINK_ATTR_MAX);
  if (!version) return Unexpected(version.error());
  const Attr* name = version->find(DEVLINK_ATTR_INFO_VERSION_NAME);
  const Attr* value = version->find(DEVLINK_ATTR_INFO_VERSION_VALUE);
  if (name != nullptr && value != nullptr) versions.emplace(name->string(), value->string());
  return {};
}

}  // namespace

Result<std::optional<ParamValue>> get_param(Devlink devlink, std::string_view pci, std::string_view name) {
  GenericRequest request(devlink.family, DEVLINK_CMD_PARAM_GET);
  put_handle(request, pci);
  request.attributes().put_string(DEVLINK_ATTR_PARAM_NAME, name);
  std::optional<ParamValue> value;
  auto asked = ask(devlink.generic, devlink.family, request, DEVLINK_ATTR_MAX, [&](const GenericMessage& reply) {
    auto read = read_param(reply.attributes);
    if (!read) return Result<void>(Unexpected(read.error()));
    value = std::move(*read);
    return Result<void>{};
  });
  // EINVAL: no parameter of that name (net/devlink/param.c); or the driver has none at all.
  if (!asked && asked.error().sys_errno != EINVAL && asked.error().code != Errc::unsupported) {
    return devlink_failure(asked.error(), pci, "ask for parameter " + std::string(name));
  }
  return value;
}

//   DEVLINK_ATTR_PARAM_NAME, PARAM_TYPE, PARAM_VALUE_CMODE, PARAM_VALUE_DATA (a boolean: there when true)
Result<void> set_param(Devlink devlink, std::string_view pci, std::string_view name, const ParamValue& value) {
  GenericRequest request(devlink.family, DEVLINK_CMD_PARAM_SET);
  put_handle(request, pci);
  MessageBuilder& message = request.attributes();
  message.put_string(DEVLINK_ATTR_PARAM_NAME, name);
  message.put_u8(DEVLINK_ATTR_PARAM_VALUE_CMODE, DEVLINK_PARAM_CMODE_RUNTIME);
  if (const auto* flag = std::get_if<bool>(&value)) {
    message.put_u8(DEVLINK_ATTR_PARAM_TYPE, kTypeBool);
    if (*flag) message.put_flag(DEVLINK_ATTR_PARAM_VALUE_DATA);
  } else if (const auto* number = std::get_if<uint32_t>(&value)) {
    message.put_u8(DEVLINK_ATTR_PARAM_TYPE, kTypeU32);
    message.put_u32(DEVLINK_ATTR_PARAM_VALUE_DATA, *number);
  } else {
    message.put_u8(DEVLINK_ATTR_PARAM_TYPE, kTypeText);
    message.put_string(DEVLINK_ATTR_PARAM_VALUE_DATA, std::get<std::string>(value));
  }
  auto told = tell(devlink.generic, request);
  if (!told) return devlink_failure(told.error(), pci, "set parameter " + std::string(name));
  return {};
}

Result<DevlinkInfo> get_info(Devlink devlink, std::string_view pci) {
  GenericRequest request(devlink.family, DEVLINK_CMD_INFO_GET);
  put_handle(request, pci);
  DevlinkInfo info;
  auto bytes = request.take();
  if (!bytes) return Unexpected(bytes.error());
  // The versions repeat their attribute, so that a table, which keeps the last of each type, would lose all but one.
  auto got = devlink.generic.get(std::move(*bytes), [&](BytesView reply) -> Result<void> {
    genlmsghdr header{};
    auto attributes = read_fixed_header(reply, header);
    if (!attributes) return Unexpected(attributes.error());
    return for_each_attr(*attributes, [&info](const Attr& attr) -> Result<void> {
      if (attr.type == DEVLINK_ATTR_INFO_DRIVER_NAME) info.driver = attr.string();
      return attr.type == DEVLINK_ATTR_INFO_VERSION_RUNNING ? read_version(attr, info.running) : Result<void>{};
    });
  });
  if (!got) return devlink_failure(got.error(), pci, "ask for versions");
  return info;
}

}  // namespace sepal::netlink
