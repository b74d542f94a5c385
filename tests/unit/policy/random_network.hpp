// Networks with security groups, and connections that meet their rules, by chance and the same in every run.
#pragma once

#include <random>

#include "policy/compile.hpp"
#include "policy/judge.hpp"

namespace sepal::policy::model {

class Chance {
 public:
  explicit Chance(uint64_t seed) : engine_(seed) {}
  uint32_t below(uint32_t end) { return static_cast<uint32_t>(engine_() % end); }
  bool percent(uint32_t chance) { return below(100) < chance; }
  template <typename T>
  const T& of(const std::vector<T>& list) {
    return list[below(static_cast<uint32_t>(list.size()))];
  }
  template <typename T, size_t N>
  const T& of(const T (&list)[N]) {
    return list[below(static_cast<uint32_t>(N))];
  }

 private:
  std::mt19937_64 engine_;
};

// Every rule has a line of its own as its place.
Network random_network(Chance& chance);
Flow random_flow(Chance& chance, const Network& network);
std::string to_string(const Network& network);
std::string to_string(const Flow& flow);

}  // namespace sepal::policy::model
