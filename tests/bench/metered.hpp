// A transport that counts and times what passes through it, and tells the seconds of a pass apart: in the kernel, or
// ours. What the numbers mean is the benchmarks' business (rules.cpp).
#pragma once

#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <chrono>
#include <cstring>

#include "netlink/message.hpp"
#include "netlink/transport.hpp"

namespace sepal::bench {

using BenchClock = std::chrono::steady_clock;

inline double ms_since(BenchClock::time_point begin) {
  return std::chrono::duration<double, std::milli>(BenchClock::now() - begin).count();
}

struct Meter {
  double write_ms = 0;  // inside transact(), or waiting for flights
  double read_ms = 0;   // inside dump() and get(), the time of their sinks included
  size_t filters = 0;   // RTM_NEWTFILTER and RTM_DELTFILTER messages sent for rules
  size_t others = 0;    // every other message that changes the kernel; a clsact and the mark that makes it ours
  size_t write_bytes = 0;
  size_t dumps = 0;
  BenchClock::time_point answered;  // when the last write was
};

class MeteredTransport : public netlink::Transport {
 public:
  MeteredTransport(std::unique_ptr<netlink::Transport> inner, Meter& meter) : inner_(std::move(inner)), meter_(meter) {}

  Result<void> transact(netlink::Bytes& requests,
                        const std::function<void(size_t, const netlink::Answer&)>& answered) override {
    count(requests);
    const auto begin = BenchClock::now();
    auto result = inner_->transact(requests, answered);
    meter_.write_ms += ms_since(begin);
    meter_.answered = BenchClock::now();
    return result;
  }
  std::unique_ptr<netlink::Flight> start(netlink::Bytes requests) override {
    count(requests);
    const auto begin = BenchClock::now();
    auto flight = inner_->start(std::move(requests));
    meter_.write_ms += ms_since(begin);
    return std::make_unique<MeteredFlight>(std::move(flight), meter_);
  }
  Result<void> dump(netlink::Bytes request, const netlink::MessageSink& sink) override {
    ++meter_.dumps;
    const auto begin = BenchClock::now();
    auto result = inner_->dump(std::move(request), sink);
    meter_.read_ms += ms_since(begin);
    return result;
  }
  Result<void> get(netlink::Bytes request, const netlink::MessageSink& sink) override {
    const auto begin = BenchClock::now();
    auto result = inner_->get(std::move(request), sink);
    meter_.read_ms += ms_since(begin);
    return result;
  }
  [[nodiscard]] uint64_t writes() const override { return inner_->writes(); }

 private:
  // Its wait is all of a flight that does not go on beside something else.
  class MeteredFlight : public netlink::Flight {
   public:
    MeteredFlight(std::unique_ptr<netlink::Flight> inner, Meter& meter) : inner_(std::move(inner)), meter_(meter) {}
    Result<void> finish(const netlink::Answered& answered) override {
      const auto begin = BenchClock::now();
      auto result = inner_->finish(answered);
      meter_.write_ms += ms_since(begin);
      meter_.answered = BenchClock::now();
      return result;
    }

   private:
    std::unique_ptr<netlink::Flight> inner_;
    Meter& meter_;
  };

  void count(const netlink::Bytes& requests) {
    (void)netlink::for_each_message(requests,
                                    [this](const nlmsghdr& header, netlink::BytesView message) -> Result<void> {
                                      ++(is_rule(header, message) ? meter_.filters : meter_.others);
                                      return {};
                                    });
    meter_.write_bytes += requests.size();
  }

  // Rules stand on ingress; the mark of a clsact is a filter on egress (agent/clsact.cpp).
  static bool is_rule(const nlmsghdr& header, netlink::BytesView message) {
    if (header.nlmsg_type != RTM_NEWTFILTER && header.nlmsg_type != RTM_DELTFILTER) return false;
    tcmsg place{};
    std::memcpy(&place, message.data() + NLMSG_HDRLEN, sizeof place);
    return place.tcm_parent == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
  }

  std::unique_ptr<netlink::Transport> inner_;
  Meter& meter_;
};

}  // namespace sepal::bench
