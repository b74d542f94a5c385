// unshare(2) and the three files that make us root in the new user namespace (user_namespaces(7)).
#include "tests/support/network_namespace.hpp"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>

#include "base/unique_fd.hpp"

namespace sepal::test {
namespace {

Result<void> write_file(const char* path, const std::string& text) {
  const UniqueFd fd(::open(path, O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return fail_errno(errno, std::string("write ") + path);
  }
  return {};
}

}  // namespace

Result<void> enter_network_namespace() {
  const std::string user = std::to_string(::getuid());
  const std::string group = std::to_string(::getgid());
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    const int user_namespaces = errno;
    // Root where user namespaces are switched off still has network namespaces.
    if (::unshare(CLONE_NEWNET) == 0) return {};
    return Unexpected(Error{Errc::unsupported, user_namespaces, "no user and network namespace here", {}});
  }
  if (auto done = write_file("/proc/self/setgroups", "deny"); !done) return done;
  if (auto done = write_file("/proc/self/uid_map", "0 " + user + " 1"); !done) return done;
  return write_file("/proc/self/gid_map", "0 " + group + " 1");
}

}  // namespace sepal::test
