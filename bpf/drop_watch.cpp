#include "bpf/drop_watch.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <drop_watch.skel.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "bpf/objects.hpp"

namespace sepal::bpf {
namespace {

constexpr const char* kKernelTypes = "/sys/kernel/btf/vmlinux";
constexpr int kNotSupported = 524;  // ENOTSUPP, the kernel's own

Unexpected refused(int error, const std::string& doing, const std::string& words) {
  if (error == EPERM) return fail_errno(error, doing + " (needs root, or CAP_BPF and CAP_PERFMON)", words);
  if (error == ESRCH || error == kNotSupported || error == EOPNOTSUPP || error == EINVAL || error == ENOENT)
    return fail_errno(EOPNOTSUPP,
                      doing +
                          ": this kernel cannot trace the return of tcf_action_exec (CONFIG_BPF_JIT, "
                          "CONFIG_DYNAMIC_FTRACE and CONFIG_DEBUG_INFO_BTF are needed)",
                      words);
  return fail_errno(error, doing, words);
}

}  // namespace

void DropWatch::Free::operator()(::drop_watch_bpf* object) const { ::drop_watch_bpf__destroy(object); }

Result<DropWatch> DropWatch::open(const DropsWanted& wanted) {
  if (::access(kKernelTypes, R_OK) != 0)
    return fail(Errc::unsupported, std::string("this kernel does not tell its types (no ") + kKernelTypes +
                                       ": CONFIG_DEBUG_INFO_BTF), so packets cannot be watched as they are dropped; "
                                       "`sepalctl drops` counts them");
  struct stat netns{};
  if (::stat("/proc/self/ns/net", &netns) != 0) return fail_errno(errno, "find out the network namespace");
  CollectedWords words;
  std::unique_ptr<::drop_watch_bpf, Free> object(::drop_watch_bpf__open());
  if (object == nullptr) return fail_errno(errno, "read the built-in eBPF object", words.text());
  object->rodata->sepal_netns = static_cast<uint32_t>(netns.st_ino);
  std::copy(wanted.cookie.begin(), wanted.cookie.end(), object->rodata->sepal_cookie);
  object->rodata->sepal_cookie_bytes = wanted.cookie_bytes;
  object->rodata->sepal_per_second = wanted.per_second;
  if (const int failed = ::drop_watch_bpf__load(object.get()); failed != 0)
    return refused(-failed, "load the eBPF program that watches drops", words.text());
  if (const int failed = ::drop_watch_bpf__attach(object.get()); failed != 0)
    return refused(-failed, "attach the eBPF program that watches drops", words.text());
  auto ring = Ring::open(::bpf_map__fd(object->maps.sepal_drops));
  if (!ring) return Unexpected(ring.error());
  return DropWatch(std::move(object), std::make_unique<Ring>(std::move(*ring)));
}

uint64_t DropWatch::not_told() const { return __atomic_load_n(&object_->bss->sepal_not_told, __ATOMIC_RELAXED); }

}  // namespace sepal::bpf
