#include "agent/flow_words.hpp"

#include <array>
#include <cstdio>
#include <ctime>

#include "tc/rule/match.hpp"

namespace sepal::agent {

std::string protocol_text(uint8_t protocol) {
  switch (protocol) {
    case tc::kProtoTcp: return "tcp";
    case tc::kProtoUdp: return "udp";
    case tc::kProtoIcmp: return "icmp";
    case tc::kProtoIcmpv6: return "icmpv6";
    case 132: return "sctp";
    default: return "protocol " + std::to_string(protocol);
  }
}

std::string end_text(const IpAddr& address, uint16_t port, bool with_port) {
  const std::string text = address.is_v4() || !with_port ? address.to_string() : "[" + address.to_string() + "]";
  return with_port ? text + ":" + std::to_string(port) : text;
}

std::string time_text(uint64_t nanoseconds_since_1970) {
  const auto seconds = static_cast<time_t>(nanoseconds_since_1970 / 1'000'000'000U);
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 32> day{};
  std::array<char, 16> rest{};
  const size_t length = std::strftime(day.data(), day.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  const auto micros = static_cast<unsigned>(nanoseconds_since_1970 / 1000U % 1'000'000U);
  std::snprintf(rest.data(), rest.size(), ".%06uZ", micros);
  return std::string(day.data(), length) + rest.data();
}

}  // namespace sepal::agent
