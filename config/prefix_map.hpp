// Prefixes → values with longest-prefix lookup, for the rules about what lies in what. A lookup tries each length in
// use once, so a tenant of many subnets and many addresses stays far from their product.
#pragma once

#include <array>
#include <bitset>
#include <map>

#include "base/net_types.hpp"

namespace sepal::config {

template <typename T>
class PrefixMap {
 public:
  using Map = std::map<IpPrefix, T>;
  using Entry = typename Map::value_type;

  // The entry of `prefix`, and whether it is new.
  std::pair<Entry*, bool> insert(const IpPrefix& prefix, T value) {
    lengths(prefix.family()).set(prefix.length);
    auto [at, inserted] = map_.emplace(prefix, std::move(value));
    return {&*at, inserted};
  }

  [[nodiscard]] const Entry* find(const IpPrefix& prefix) const {
    auto at = map_.find(prefix);
    return at == map_.end() ? nullptr : &*at;
  }

  // The longest prefix here that contains `prefix` and is at most `length_max` long.
  [[nodiscard]] const Entry* covering(const IpPrefix& prefix, unsigned length_max) const {
    const auto& used = lengths_[static_cast<size_t>(prefix.family())];
    for (unsigned length = std::min<unsigned>(prefix.length, length_max) + 1; length-- > 0;) {
      if (!used.test(length)) continue;
      if (const Entry* entry = find(IpPrefix::make(prefix.address, length))) return entry;
    }
    return nullptr;
  }
  [[nodiscard]] const Entry* covering(const IpPrefix& prefix) const { return covering(prefix, prefix.length); }
  // The longest one that contains `prefix` and is not `prefix` itself.
  [[nodiscard]] const Entry* around(const IpPrefix& prefix) const {
    return prefix.length == 0 ? nullptr : covering(prefix, prefix.length - 1U);
  }

  [[nodiscard]] bool empty() const { return map_.empty(); }
  [[nodiscard]] auto begin() const { return map_.begin(); }
  [[nodiscard]] auto end() const { return map_.end(); }

 private:
  std::bitset<129>& lengths(Family family) { return lengths_[static_cast<size_t>(family)]; }

  Map map_;
  std::array<std::bitset<129>, 2> lengths_;
};

}  // namespace sepal::config
