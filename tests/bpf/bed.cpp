// Namespaces, mounts and test runs: see bed.hpp.
#include "tests/bpf/bed.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>

namespace sepal::test {
namespace {

std::string enter() {
  if (::geteuid() != 0) return "the eBPF suite needs root";
  if (::unshare(CLONE_NEWNS | CLONE_NEWNET) != 0) return std::string("no own namespaces: ") + std::strerror(errno);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "mounts cannot be made private";
  const UniqueFd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  if (::ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) return "the loopback device does not come up";
  return {};
}

// Recent kernels (6.18) run no test with a frame that says IP and ends before its IP header does.
bool lacks_ip_header(const Bytes& frame) {
  const bool v4 = frame[12] == 0x08 && frame[13] == 0x00;
  const bool v6 = frame[12] == 0x86 && frame[13] == 0xdd;
  return (v4 && frame.size() < 14 + 20) || (v6 && frame.size() < 14 + 40);
}

struct CloseObject {
  void operator()(bpf_object* object) const { ::bpf_object__close(object); }
};

}  // namespace

const std::string& bed_missing() {
  static const std::string reason = enter();
  return reason;
}

Bpffs::Bpffs() {
  char path[] = "/tmp/bpffs.XXXXXX";
  if (::mkdtemp(path) == nullptr || ::mount("bpf", path, "bpf", 0, nullptr) != 0) throw std::runtime_error("no bpffs");
  path_ = path;
}

Bpffs::~Bpffs() {
  ::umount(path_.c_str());
  ::rmdir(path_.c_str());
}

Outcome run(int program, const Bytes& frame, uint32_t device, const std::array<uint32_t, 5>& cb, uint32_t mark) {
  __sk_buff in{};
  __sk_buff out{};
  in.ifindex = device == 1 ? 0 : device;  // 0 means the loopback device, 1 is refused
  in.mark = mark;
  std::copy(cb.begin(), cb.end(), in.cb);
  Outcome outcome;
  outcome.frame.resize(frame.size() + 256);
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  options.data_in = frame.data();
  options.data_size_in = static_cast<uint32_t>(frame.size());
  options.data_out = outcome.frame.data();
  options.data_size_out = static_cast<uint32_t>(outcome.frame.size());
  options.ctx_in = &in;
  options.ctx_size_in = sizeof in;
  options.ctx_out = &out;
  options.ctx_size_out = sizeof out;
  options.repeat = 1;
  if (const int failed = ::bpf_prog_test_run_opts(program, &options); failed != 0) {
    if (failed == -EINVAL && lacks_ip_header(frame)) {
      outcome.verdict = kUnspec;
      outcome.frame = frame;
      outcome.mark = mark;
      outcome.run = false;
      return outcome;
    }
    ADD_FAILURE() << "BPF_PROG_TEST_RUN of " << frame.size() << " bytes: " << std::strerror(-failed);
    return outcome;
  }
  outcome.verdict = static_cast<int>(options.retval);
  outcome.frame.resize(options.data_size_out);
  std::copy(std::begin(out.cb), std::end(out.cb), outcome.cb.begin());
  outcome.mark = out.mark;
  return outcome;
}

UniqueFd map_of(int program) {
  uint32_t id = 0;
  bpf_prog_info info{};
  info.nr_map_ids = 1;
  info.map_ids = reinterpret_cast<uintptr_t>(&id);
  uint32_t size = sizeof info;
  if (::bpf_obj_get_info_by_fd(program, &info, &size) != 0 || info.nr_map_ids != 1) {
    throw std::runtime_error("a program without its one map");
  }
  return UniqueFd(::bpf_map_get_fd_by_id(id));
}

Bytes read_test_object(const std::string& object) {
  std::ifstream file(std::string(SEPAL_TEST_OBJECTS) + "/" + object, std::ios::binary);
  if (!file) throw std::runtime_error("no test object " + object);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

UniqueFd load_test_program(const std::string& object, const std::string& program, int map) {
  const Bytes code = read_test_object(object);
  const std::unique_ptr<bpf_object, CloseObject> opened(::bpf_object__open_mem(code.data(), code.size(), nullptr));
  if (opened == nullptr) throw std::runtime_error("cannot open " + object);
  if (map >= 0 && ::bpf_map__reuse_fd(::bpf_object__next_map(opened.get(), nullptr), map) != 0) {
    throw std::runtime_error("cannot give a map to " + object);
  }
  if (::bpf_object__load(opened.get()) != 0) throw std::runtime_error("cannot load " + object);
  const bpf_program* found = ::bpf_object__find_program_by_name(opened.get(), program.c_str());
  if (found == nullptr) throw std::runtime_error("no program " + program + " in " + object);
  return UniqueFd(::dup(::bpf_program__fd(found)));
}

void BedTest::SetUp() {
  if (!bed_missing().empty()) GTEST_SKIP() << bed_missing();
}

}  // namespace sepal::test
