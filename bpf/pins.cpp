// Pinned objects in bpffs: see pins.hpp; bpf(2), BPF_OBJ_PIN; linux:kernel/bpf/inode.c.
#include "bpf/pins.hpp"

#include <bpf/bpf.h>
#include <dirent.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

namespace sepal::bpf {
namespace {

// Never the name of a program or a map. Of two writers the second is refused by the instance's lock, so one is enough.
constexpr const char* kBeingPinned = "being_pinned";

bool is_bpffs(const std::string& path) {
  struct statfs info{};
  return ::statfs(path.c_str(), &info) == 0 && static_cast<unsigned long>(info.f_type) == BPF_FS_MAGIC;
}

// Is our mount namespace the one of process 1? When we may not look, the answer is no: a mount that vanishes with us
// would be found missing much later.
bool mounts_last() {
  struct stat ours{};
  struct stat first{};
  return ::stat("/proc/self/ns/mnt", &ours) == 0 && ::stat("/proc/1/ns/mnt", &first) == 0 &&
         ours.st_dev == first.st_dev && ours.st_ino == first.st_ino;
}

Result<void> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(errno, "make " + path);
  return {};
}

Result<void> mount_bpffs(const std::string& path) {
  const std::string advice = "; as root on the host: mount -t bpf bpf " + path;
  if (!mounts_last()) {
    return fail(Errc::unsupported, "no bpffs is mounted at " + path +
                                       " in this mount namespace, and one mounted here would not last" + advice);
  }
  if (::mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=700") != 0) {
    return fail_errno(errno, "mount bpffs at " + path + advice);
  }
  return {};
}

struct CloseDir {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

}  // namespace

Result<Pins> Pins::at(const std::string& bpffs, const std::string& instance) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  if (instance.empty() || instance.size() > 63 || !std::all_of(instance.begin(), instance.end(), allowed)) {
    return fail(Errc::invalid_config,
                "instance name \"" + instance + "\": 1 to 63 letters, digits, '-' or '_' can be a name in bpffs");
  }
  return Pins(bpffs, instance);
}

Result<void> Pins::create() const {
  if (!is_bpffs(bpffs_)) {
    if (auto mounted = mount_bpffs(bpffs_); !mounted) return mounted;
  }
  if (auto made = make_directory(parent_); !made) return made;
  return make_directory(directory_);
}

Result<std::vector<std::string>> Pins::names() const {
  std::unique_ptr<DIR, CloseDir> directory(::opendir(directory_.c_str()));
  if (directory == nullptr) {
    if (errno == ENOENT) return std::vector<std::string>{};
    return fail_errno(errno, "read " + directory_);
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
    errno = 0;
  }
  if (errno != 0) return fail_errno(errno, "read " + directory_);
  std::sort(names.begin(), names.end());
  return names;
}

Result<UniqueFd> Pins::open(const std::string& name) const {
  UniqueFd fd(::bpf_obj_get(path(name).c_str()));
  if (!fd.valid() && errno != ENOENT) return fail_errno(errno, "open " + path(name));
  return fd;
}

Result<void> Pins::pin(int fd, const std::string& name) const {
  if (auto cleared = unpin(kBeingPinned); !cleared) return cleared;
  const std::string temporary = path(kBeingPinned);
  if (::bpf_obj_pin(fd, temporary.c_str()) != 0) return fail_errno(errno, "pin " + path(name));
  if (::rename(temporary.c_str(), path(name).c_str()) != 0) {
    const int err = errno;
    ::unlink(temporary.c_str());
    return fail_errno(err, "pin " + path(name));
  }
  return {};
}

Result<void> Pins::unpin(const std::string& name) const {
  if (::unlink(path(name).c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "unpin " + path(name));
  return {};
}

Result<bool> Pins::remove() const {
  auto all = names();
  if (!all) return Unexpected(all.error());
  for (const std::string& name : *all) {
    if (auto gone = unpin(name); !gone) return Unexpected(gone.error());
  }
  bool found = true;
  if (::rmdir(directory_.c_str()) != 0) {
    if (errno != ENOENT) return fail_errno(errno, "remove " + directory_);
    found = false;
  }
  // Other instances, or none of us at all: both leave the parent as it is.
  if (::rmdir(parent_.c_str()) != 0 && errno != ENOTEMPTY && errno != ENOENT) {
    return fail_errno(errno, "remove " + parent_);
  }
  return found;
}

}  // namespace sepal::bpf
