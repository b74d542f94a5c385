#include "base/result.hpp"

#include <cerrno>
#include <system_error>
#include <utility>

namespace sepal {

std::string_view to_string(Errc code) {
  switch (code) {
    case Errc::invalid_config: return "invalid-config";
    case Errc::unsupported: return "unsupported";
    case Errc::conflict: return "conflict";
    case Errc::not_found: return "not-found";
    case Errc::exists: return "exists";
    case Errc::transient: return "transient";
    case Errc::resync: return "resync";
    case Errc::protocol: return "protocol";
    case Errc::internal: return "internal";
  }
  return "internal";
}

Errc errc_from_errno(int err) {
  switch (err) {
    case EEXIST: return Errc::exists;
    case ENOENT:
    case ENODEV:
    case ESRCH: return Errc::not_found;
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
    case ENOSYS: return Errc::unsupported;
    case EBUSY:
    case EAGAIN:
    case EINTR:
    case ENOMEM:
    case ENOBUFS: return Errc::transient;
    default: return Errc::internal;
  }
}

std::string Error::message() const {
  std::string text = doing;
  auto append = [&text](std::string_view part) {
    if (part.empty()) return;
    if (!text.empty()) text += ": ";
    text += part;
  };
  if (sys_errno != 0) append(std::generic_category().message(sys_errno));
  if (!ext_ack.empty()) append("kernel says: " + ext_ack);
  if (text.empty()) append(to_string(code));
  return text;
}

Unexpected fail(Errc code, std::string doing) { return Unexpected(Error{code, 0, std::move(doing), {}}); }

Unexpected fail_errno(int err, std::string doing, std::string ext_ack) {
  return Unexpected(Error{errc_from_errno(err), err, std::move(doing), std::move(ext_ack)});
}

Error while_doing(Error error, std::string_view context) {
  error.doing = error.doing.empty() ? std::string(context) : std::string(context) + ": " + error.doing;
  return error;
}

}  // namespace sepal
