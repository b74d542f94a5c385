// The inside of devlink*.cpp: how a request names its device.
#pragma once

#include <linux/devlink.h>

#include "netlink/devlink.hpp"

namespace sepal::netlink {

// DEVLINK_ATTR_BUS_NAME "pci", DEVLINK_ATTR_DEV_NAME
inline void put_handle(GenericRequest& request, std::string_view pci) {
  request.attributes().put_string(DEVLINK_ATTR_BUS_NAME, "pci");
  request.attributes().put_string(DEVLINK_ATTR_DEV_NAME, pci);
}

// "devlink pci/0000:3b:00.0: WHAT"
inline Unexpected devlink_failure(Error error, std::string_view pci, std::string_view what) {
  return Unexpected(while_doing(std::move(error), "devlink pci/" + std::string(pci) + ": " + std::string(what)));
}

}  // namespace sepal::netlink
