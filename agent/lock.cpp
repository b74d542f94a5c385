// flock(2) with a pid inside. A lock file may be unlinked by its owner (`remove`), so who got the lock makes sure that
// the file it locked is still the one under that name.
#include "agent/lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>

namespace sepal::agent {
namespace {

std::string read_pid(int fd) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(fd, text.data(), text.size() - 1, 0);
  std::string pid;
  for (ssize_t i = 0; i < size && text[static_cast<size_t>(i)] >= '0' && text[static_cast<size_t>(i)] <= '9'; ++i)
    pid += text[static_cast<size_t>(i)];
  return pid;
}

bool is_same_file(int fd, const std::string& path) {
  struct stat open_file{};
  struct stat named_file{};
  return ::fstat(fd, &open_file) == 0 && ::stat(path.c_str(), &named_file) == 0 &&
         open_file.st_dev == named_file.st_dev && open_file.st_ino == named_file.st_ino;
}

}  // namespace

Result<WriterLock> WriterLock::take(const std::string& path) {
  for (;;) {
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!fd.valid()) return fail_errno(errno, "open " + path);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return fail_errno(errno, "lock " + path);
      const std::string pid = read_pid(fd.get());
      return fail(Errc::conflict, "another writer holds " + path + (pid.empty() ? "" : ": pid " + pid));
    }
    if (!is_same_file(fd.get(), path)) continue;  // its last owner unlinked it between our open and our lock
    const std::string pid = std::to_string(::getpid()) + "\n";
    if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0)
      return fail_errno(errno, "write " + path);
    return WriterLock(std::move(fd), path);
  }
}

void WriterLock::remove_file() { ::unlink(path_.c_str()); }

}  // namespace sepal::agent
