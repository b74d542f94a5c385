// The kernel's connection tracking: room, and times after which connections leave the NIC. Governed by
// Documentation/networking/nf_conntrack-sysctl.rst.
#include <charconv>

#include "agent/doctor/checks.hpp"

namespace sepal::agent::doctor {
namespace {

const std::string kCheck = "conntrack";

std::optional<uint64_t> number(const Facts& facts, const std::string& name) {
  const auto found = facts.sysctls.find(name);
  if (found == facts.sysctls.end()) return std::nullopt;
  uint64_t value = 0;
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

std::string set_to(const std::string& name, uint64_t value) {
  return "sysctl -w net.netfilter." + name + "=" + std::to_string(value) + ", and in /etc/sysctl.d to keep it";
}

void check_room(const Facts& facts, Findings& out) {
  const auto max = number(facts, "nf_conntrack_max");
  if (!max || !facts.connections || *max == 0) return;
  const uint64_t percent = *facts.connections * 100 / *max;
  const std::string what = std::to_string(*facts.connections) + " connections of at most " + std::to_string(*max);
  constexpr uint64_t kNearlyFull = 95;
  constexpr uint64_t kFilling = 75;
  if (percent >= kNearlyFull)
    say(out, kCheck, State::fail, what + ": new ones are dropped when it is full",
        set_to("nf_conntrack_max", *max * 4));
  else if (percent >= kFilling)
    say(out, kCheck, State::warn, what, set_to("nf_conntrack_max", *max * 4));
  else
    say(out, kCheck, State::ok, what);
  const auto buckets = number(facts, "nf_conntrack_buckets");
  constexpr uint64_t kPerBucketMax = 8;
  if (buckets && *buckets > 0 && *max / *buckets > kPerBucketMax)
    say(out, kCheck, State::warn,
        std::to_string(*buckets) + " hash buckets for " + std::to_string(*max) +
            " connections: each lookup walks a long list when they are there",
        set_to("nf_conntrack_buckets", *max / 2));
}

void check_timeouts(const Facts& facts, Findings& out) {
  constexpr uint64_t kShort = 10;
  for (const char* name : {"nf_flowtable_tcp_timeout", "nf_flowtable_udp_timeout"}) {
    const auto seconds = number(facts, name);
    if (seconds && *seconds < kShort)
      say(out, kCheck, State::warn,
          std::string(name) + " is " + std::to_string(*seconds) +
              " s: a connection that rests so long leaves the NIC and has to be offloaded again",
          set_to(name, 30));
  }
  constexpr uint64_t kFiveMinutes = 300;
  const auto established = number(facts, "nf_conntrack_tcp_timeout_established");
  if (established && *established < kFiveMinutes)
    say(out, kCheck, State::warn,
        "an established TCP connection is forgotten after " + std::to_string(*established) +
            " s of silence: what comes later is dropped",
        set_to("nf_conntrack_tcp_timeout_established", 7440));
  if (number(facts, "nf_conntrack_acct") == 1U)
    say(out, kCheck, State::warn, "accounting is on: each offloaded connection takes two counters of the NIC, not one",
        set_to("nf_conntrack_acct", 0));
  const auto liberal = number(facts, "nf_conntrack_tcp_be_liberal");
  if (liberal)
    say(out, kCheck, State::ok,
        *liberal == 0 ? "tcp_be_liberal is 0: the kernel makes offloaded connections liberal by itself"
                      : "tcp_be_liberal is 1: sequence numbers are not checked on any connection");
}

}  // namespace

void check_conntrack(const Facts& facts, Findings& out) {
  if (facts.sysctls.empty()) {
    say(out, kCheck, State::unknown, "connection tracking is not loaded: it comes with the first rule", "");
    return;
  }
  check_room(facts, out);
  check_timeouts(facts, out);
}

}  // namespace sepal::agent::doctor
