#include "agent/doctor/parse.hpp"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <charconv>
#include <functional>
#include <optional>

namespace sepal::agent::doctor {
namespace {

void for_each_line(std::string_view text, const std::function<void(std::string_view)>& visit) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    visit(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos) break;
    line.remove_prefix(begin);
    const size_t end = line.find_first_of(" \t");
    words.push_back(line.substr(0, end));
    line.remove_prefix(end == std::string_view::npos ? line.size() : end);
  }
  return words;
}

template <typename Int>
std::optional<Int> number(std::string_view text, int base) {
  Int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

}  // namespace

std::map<std::string, char> parse_kernel_config(std::string_view text) {
  constexpr std::string_view kPrefix = "CONFIG_";
  std::map<std::string, char> settings;
  for_each_line(text, [&](std::string_view line) {
    const size_t equals = line.find('=');
    if (!line.starts_with(kPrefix) || equals == std::string_view::npos || line.size() != equals + 2) return;
    const char value = line[equals + 1];
    if (value == 'y' || value == 'm') settings.emplace(line.substr(kPrefix.size(), equals - kPrefix.size()), value);
  });
  return settings;
}

// sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
std::vector<SocketEntry> parse_tc_listeners(std::string_view text) {
  constexpr uint32_t kTcGroup = 1U << (RTNLGRP_TC - 1U);
  std::vector<SocketEntry> entries;
  for_each_line(text, [&](std::string_view line) {
    const auto words = words_of(line);
    if (words.size() < 10 || number<uint32_t>(words[1], 10) != uint32_t{NETLINK_ROUTE}) return;
    const auto groups = number<uint32_t>(words[3], 16);
    if (!groups || (*groups & kTcGroup) == 0) return;
    // A port id that the kernel chose is negative when printed as it is.
    const auto pid = number<int64_t>(words[2], 10);
    entries.push_back({static_cast<uint32_t>(pid.value_or(0)), number<uint64_t>(words[9], 10).value_or(0)});
  });
  return entries;
}

// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
std::vector<SocketEntry> parse_udp(std::string_view text, uint16_t port) {
  std::vector<SocketEntry> entries;
  for_each_line(text, [&](std::string_view line) {
    const auto words = words_of(line);
    if (words.size() < 10) return;
    const size_t colon = words[1].rfind(':');
    if (colon == std::string_view::npos || number<uint16_t>(words[1].substr(colon + 1), 16) != port) return;
    entries.push_back({port, number<uint64_t>(words[9], 10).value_or(0)});
  });
  return entries;
}

std::string parse_ini(std::string_view text, std::string_view key) {
  std::string value;
  for_each_line(text, [&](std::string_view line) {
    const size_t equals = line.find('=');
    if (value.empty() && equals != std::string_view::npos && line.substr(0, equals) == key)
      value = line.substr(equals + 1);
  });
  return value;
}

}  // namespace sepal::agent::doctor
