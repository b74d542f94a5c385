// A running 64-bit digest of values: tells quickly whether something is as it was. Not for the wire, and no protection
// against somebody who wants two things to look alike.
//
// What has members says so by an overload of mix() beside it, which takes the value apart by structured binding: a
// member that comes later does not compile until it is mixed in, too.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/net_types.hpp"

namespace sepal {

class Digest {
 public:
  void add(uint64_t value) {
    state_ = (state_ ^ value) * 0x9e3779b97f4a7c15U;
    state_ ^= state_ >> 29U;
  }
  void add_bytes(const void* data, size_t size) {
    add(size);
    const auto* at = static_cast<const uint8_t*>(data);
    for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t), at += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, at, sizeof word);
      add(word);
    }
    uint64_t rest = 0;
    std::memcpy(&rest, at, size);
    if (size > 0) add(rest);
  }
  // Each of them, in this order.
  template <typename... Values>
  void all(const Values&... values) {
    (mix(*this, values), ...);
  }
  [[nodiscard]] uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0xcbf29ce484222325U;
};

template <typename T>
  requires std::integral<T> || std::is_enum_v<T>
void mix(Digest& digest, T value) {
  digest.add(static_cast<uint64_t>(value));
}
template <typename Tag, typename Int>
void mix(Digest& digest, Number<Tag, Int> number) {
  digest.add(number.value());
}
inline void mix(Digest& digest, const std::string& text) { digest.add_bytes(text.data(), text.size()); }
inline void mix(Digest& digest, const MacAddr& mac) { digest.add_bytes(mac.bytes.data(), mac.bytes.size()); }
inline void mix(Digest& digest, const IpAddr& address) { digest.add_bytes(address.bytes.data(), address.size()); }
inline void mix(Digest& digest, const IpPrefix& prefix) {
  mix(digest, prefix.address);
  digest.add(prefix.length);
}
inline void mix(Digest& digest, const PortRange& range) {
  const auto& [first, last] = range;
  digest.all(first, last);
}
template <size_t N>
void mix(Digest& digest, const std::array<uint8_t, N>& bytes) {
  digest.add_bytes(bytes.data(), N);
}
template <typename A, typename B>
void mix(Digest& digest, const std::pair<A, B>& pair) {
  digest.all(pair.first, pair.second);
}
template <typename T>
void mix(Digest& digest, const std::optional<T>& value) {
  digest.add(value ? 1 : 0);
  if (value) mix(digest, *value);
}
template <typename... T>
void mix(Digest& digest, const std::variant<T...>& value) {
  digest.add(value.index());
  std::visit([&digest](const auto& one) { mix(digest, one); }, value);
}
template <typename Range>
void mix_range(Digest& digest, const Range& range) {
  digest.add(range.size());
  for (const auto& one : range) mix(digest, one);
}
template <typename T>
void mix(Digest& digest, const std::vector<T>& values) {
  mix_range(digest, values);
}
template <typename T>
void mix(Digest& digest, const std::set<T>& values) {
  mix_range(digest, values);
}
template <typename K, typename V>
void mix(Digest& digest, const std::map<K, V>& values) {
  mix_range(digest, values);
}

template <typename T>
uint64_t digest_of(const T& value) {
  Digest digest;
  mix(digest, value);
  return digest.value();
}

}  // namespace sepal
