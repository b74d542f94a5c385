// What the eBPF tests stand on: mount and network namespaces of their own, bpffs mounts that end with the test, and one
// packet through one program (BPF_PROG_TEST_RUN).
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "bpf/loader.hpp"
#include "tests/bpf/frames.hpp"

namespace sepal::test {

// Once per process, before any test: private mount and network namespaces with the loopback device up. Without the
// rights for that, the reason; tests then skip with it.
const std::string& bed_missing();

// A directory with a bpffs of its own, gone with the object.
class Bpffs {
 public:
  Bpffs();
  ~Bpffs();
  Bpffs(const Bpffs&) = delete;
  Bpffs& operator=(const Bpffs&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bpf::Place place(const std::string& instance = "lab") const { return {instance, path_}; }

 private:
  std::string path_;
};

struct Outcome {
  bool run = true;  // false: this kernel tests no such stump; verdict and frame then say "left alone"
  int verdict = 0;
  Bytes frame;
  std::array<uint32_t, 5> cb{};  // skb->cb, through which the probes talk
  uint32_t mark = 0;             // skb->mark, as the program left it
};
// `device`: interface index where the packet arrives; 1, the loopback device, by default. `cb`: what the program finds
// in skb->cb; the tested programs ignore it, the probes do not.
// `mark`: skb->mark.
Outcome run(int program, const Bytes& frame, uint32_t device = 1, const std::array<uint32_t, 5>& cb = {},
            uint32_t mark = 0);

// The one map that a program uses.
UniqueFd map_of(int program);
// A test object from the build folder ("probe.bpf.o"), its map replaced by `map` unless that is -1; the program by
// name.
UniqueFd load_test_program(const std::string& object, const std::string& program, int map);
Bytes read_test_object(const std::string& object);

// Skips where the bed is missing, else loads the real programs without bpffs.
class BedTest : public ::testing::Test {
 protected:
  void SetUp() override;
};

inline constexpr int kShot = 2;     // TC_ACT_SHOT
inline constexpr int kPipe = 3;     // TC_ACT_PIPE
inline constexpr int kUnspec = -1;  // TC_ACT_UNSPEC

}  // namespace sepal::test
