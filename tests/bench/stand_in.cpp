// Two instructions per program: drop. See stand_in.hpp.
#include "stand_in.hpp"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sys/stat.h>

#include <cerrno>

namespace sepal::bench {
namespace {

constexpr const char* kNames[] = {"sepal_neigh", "sepal_slice",    "sepal_policy",
                                  "sepal_icmp",  "sepal_question", "sepal_room"};

Result<int> open_program(const std::string& name) {
  const std::string path = std::string(kPinDirectory) + "/" + name;
  if (const int found = ::bpf_obj_get(path.c_str()); found >= 0) return found;
  bpf_insn code[2] = {};
  code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  code[0].dst_reg = BPF_REG_0;
  code[0].imm = 2;  // TC_ACT_SHOT
  code[1].code = BPF_JMP | BPF_EXIT;
  const int fd = ::bpf_prog_load(BPF_PROG_TYPE_SCHED_ACT, name.c_str(), "GPL", code, 2, nullptr);
  if (fd < 0) return fail_errno(-fd, "load a stand-in program");
  (void)::mkdir(kPinDirectory, 0700);
  if (::bpf_obj_pin(fd, path.c_str()) != 0) return fail_errno(errno, "pin " + path);
  return fd;
}

}  // namespace

Result<tc::BpfPrograms> StandInPrograms::programs() {
  for (const char* name : kNames) {
    if (fds_.contains(name)) continue;
    auto fd = open_program(name);
    if (!fd) return Unexpected(fd.error());
    fds_.emplace(name, UniqueFd(*fd));
  }
  return tc::BpfPrograms();
}

Result<int> StandInPrograms::program_fd(const tc::Bpf& action) {
  const auto found = fds_.find(action.name);
  if (found == fds_.end()) return fail(Errc::not_found, "no program " + action.name);
  return found->second.get();
}

}  // namespace sepal::bench
