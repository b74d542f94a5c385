// See simulated_nic.hpp.
#include "tests/nic/simulated_nic.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>

namespace sepal::test {
namespace {

// Faults and refused names are none by default; their files show something else once they were used up.
std::string whole(const std::string& knob, const std::string& shown) {
  if (knob == "refuse") return "";
  return knob.rfind("fail/", 0) == 0 ? "0" : shown;
}

}  // namespace

std::string to_hex(const tc::Cookie& cookie) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : cookie.bytes()) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

std::set<HeldRule> SimulatedNic::rules() const {
  std::ifstream file(path("rules"));
  EXPECT_TRUE(file.good()) << path("rules");
  std::set<HeldRule> held;
  for (std::string line; std::getline(file, line);) {
    HeldRule rule;
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      const size_t equals = word.find('=');
      if (equals == std::string::npos) continue;
      const std::string key = word.substr(0, equals);
      const std::string value = word.substr(equals + 1);
      auto number = [&] { return static_cast<uint32_t>(std::strtoul(value.c_str(), nullptr, 10)); };
      if (key == "chain") rule.chain = number();
      if (key == "prio") rule.prio = number();
      if (key == "port") rule.port = number();
      if (key == "tunnel") rule.tunnel = value == "1";
      if (key == "cookie") rule.cookie = value;
    }
    EXPECT_TRUE(held.insert(rule).second) << "twice: " << line;
  }
  return held;
}

void SimulatedNic::turn(const std::string& knob, const std::string& value) {
  std::string shown;
  std::getline(std::ifstream(path(knob)) >> std::ws, shown);
  before_.emplace(knob, whole(knob, shown));
  std::ofstream file(path(knob));
  file << value << "\n";
  file.flush();
  EXPECT_TRUE(file.good()) << path(knob) << " does not take " << value;
}

void SimulatedNic::make_whole() {
  for (const auto& [knob, value] : before_) {
    std::ofstream file(path(knob));
    file << value << "\n";
    file.flush();
    EXPECT_TRUE(file.good()) << path(knob) << " does not take " << value;
  }
  before_.clear();
}

}  // namespace sepal::test
