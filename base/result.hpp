// The one vocabulary of failure: Result<T>, Error, Errc.
//
// Errc is chosen by what the caller can do about it, not by where it arose. Expected outcomes are handled where they
// arise; everything else travels up untouched, gains context by `while_doing`, and is logged once, at the top.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace sepal {

enum class Errc : uint8_t {
  invalid_config,  // the user edits a file
  unsupported,     // this kernel or NIC will not, ever
  conflict,        // the place is taken by something that is not ours
  not_found,       // the object is not there (success, when removing)
  exists,          // the object is there already
  transient,       // try again later: busy, no memory, interrupted
  resync,          // our picture of the kernel is old: look again
  protocol,        // a peer sent what its contract excludes
  internal,        // a fault of our own
};

std::string_view to_string(Errc code);

struct Error {
  Errc code = Errc::internal;
  int sys_errno = 0;    // positive errno value; 0 when no system call was involved
  std::string doing;    // what we were doing, outermost first: "apply port web-0: add filter …"
  std::string ext_ack;  // the kernel's own words (NLMSGERR_ATTR_MSG); empty when it gave none

  // "doing: strerror: kernel says: ext_ack", with the empty parts left out. One line.
  [[nodiscard]] std::string message() const;
};

template <typename T>
using Result = tl::expected<T, Error>;
using Unexpected = tl::unexpected<Error>;

// Makes an Unexpected for `return fail(...)`.
[[nodiscard]] Unexpected fail(Errc code, std::string doing);
// From a failed system call or a negative netlink answer; `err` is a positive errno value. The Errc is derived from it:
// EEXIST exists; ENOENT/ENODEV/ESRCH not_found; EOPNOTSUPP/EPROTONOSUPPORT/ENOSYS unsupported; EBUSY/EAGAIN/EINTR/
// ENOMEM/ENOBUFS transient; everything else internal.
[[nodiscard]] Unexpected fail_errno(int err, std::string doing, std::string ext_ack = {});
Errc errc_from_errno(int err);

// Puts context before what is known: while_doing(e, "reload") gives "reload: …".
[[nodiscard]] Error while_doing(Error error, std::string_view context);

}  // namespace sepal
