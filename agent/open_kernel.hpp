// Opens the running kernel: the sockets and eBPF objects behind a Kernel. Sockets are opened when first used, so that a
// command needs no more of the kernel than it asks of it.
#pragma once

#include <memory>
#include <string>

#include "agent/kernel.hpp"

namespace sepal::agent {

class Features;

class OpenKernel {
 public:
  explicit OpenKernel(const std::string& instance);
  ~OpenKernel();
  [[nodiscard]] Kernel borrow();

 private:
  std::unique_ptr<netlink::Transport> route_;
  std::unique_ptr<netlink::Transport> netfilter_;
  std::unique_ptr<SlowPath> slow_path_;
  std::unique_ptr<Features> features_;
};

}  // namespace sepal::agent
