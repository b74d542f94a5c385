// A transport that opens its socket on first use, and anew after the connection broke.
#include "agent/open_kernel.hpp"

#include <linux/netlink.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "base/limits.hpp"
#include "netlink/generic.hpp"

namespace sepal::agent {
namespace {

using netlink::Bytes;

// A second writer on a machine of one CPU would only wait for the first.
unsigned writers() { return std::min(limits::kWriters, std::max(1U, std::thread::hardware_concurrency())); }

class LazyTransport : public netlink::Transport {
 public:
  explicit LazyTransport(int protocol, unsigned writers = 1) : writers_(writers) { options_.protocol = protocol; }

  Result<void> transact(Bytes& requests, const netlink::Answered& answered) override {
    if (auto opened = open(); !opened) return opened;
    return keep(socket_->transact(requests, answered));
  }
  std::unique_ptr<netlink::Flight> start(Bytes requests) override {
    if (!open()) return Transport::start(std::move(requests));  // whose transact() says why
    return socket_->start(std::move(requests));
  }
  Result<void> dump(Bytes request, const netlink::MessageSink& sink) override {
    if (auto opened = open(); !opened) return opened;
    return socket_->dump(std::move(request), sink);
  }
  Result<void> get(Bytes request, const netlink::MessageSink& sink) override {
    if (auto opened = open(); !opened) return opened;
    return socket_->get(std::move(request), sink);
  }
  Result<std::string> remark(Bytes request) override {
    if (auto opened = open(); !opened) return Unexpected(opened.error());
    auto said = socket_->remark(std::move(request));
    if (!said && said.error().code == Errc::resync) return Unexpected(keep(Unexpected(said.error())).error());
    return said;
  }
  [[nodiscard]] uint64_t writes() const override { return closed_writes_ + (socket_ ? socket_->writes() : 0); }

 private:
  Result<void> open() {
    if (socket_) return {};
    auto opened =
        writers_ > 1 ? netlink::open_parallel_transport(options_, writers_) : netlink::open_transport(options_);
    if (!opened) return Unexpected(opened.error());
    socket_ = std::move(*opened);
    return {};
  }
  // After a broken transaction late answers may still come: a new socket does not see them.
  Result<void> keep(Result<void> result) {
    if (!result) {
      closed_writes_ += socket_->writes();
      socket_.reset();
    }
    return result;
  }

  netlink::SocketOptions options_;
  unsigned writers_;
  std::unique_ptr<netlink::Transport> socket_;
  uint64_t closed_writes_ = 0;
};

}  // namespace

// ethtool's netlink. A kernel without it has no device that is known to offload anything.
class Features {
 public:
  netlink::TcOffload of(IfIndex device) {
    if (!family_ && !find()) return {};
    const auto offload = netlink::get_tc_offload(generic_, *family_, device);
    return offload ? *offload : netlink::TcOffload{};
  }

 private:
  bool find() {
    if (missing_) return false;
    if (auto family = netlink::find_family(generic_, "ethtool")) family_ = std::move(*family);
    missing_ = !family_;
    return !missing_;
  }

  LazyTransport generic_{NETLINK_GENERIC};
  std::optional<netlink::GenericFamily> family_;
  bool missing_ = false;
};

OpenKernel::OpenKernel(const std::string& instance)
    : route_(std::make_unique<LazyTransport>(NETLINK_ROUTE, writers())),
      netfilter_(std::make_unique<LazyTransport>(NETLINK_NETFILTER)),
      slow_path_(open_slow_path(instance)),
      features_(std::make_unique<Features>()) {}

OpenKernel::~OpenKernel() = default;

Kernel OpenKernel::borrow() {
  return {*route_, *netfilter_, *slow_path_, [this](IfIndex device) { return features_->of(device); }};
}

}  // namespace sepal::agent
