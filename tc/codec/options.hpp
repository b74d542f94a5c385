// The attributes of one nest of known size, by type, without allocation. Getters remember a wrong size instead of
// failing one by one: a decoder reads what it needs and asks malformed() once. Internal to tc/codec.
#pragma once

#include <arpa/inet.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>

#include "base/net_types.hpp"
#include "base/result.hpp"
#include "netlink/message.hpp"

namespace sepal::tc {

template <uint16_t Max>
class Options {
 public:
  // The last of each type wins, as in the kernel's nla_parse(); types above Max are counted.
  static Result<Options> parse(std::span<const uint8_t> region) {
    Options options;
    auto parsed = netlink::for_each_attr(region, [&options](const netlink::Attr& attr) -> Result<void> {
      if (attr.type <= Max) {
        options.attrs_[attr.type] = attr.payload;
      } else {
        ++options.unknown_;
      }
      return {};
    });
    if (!parsed) return Unexpected(parsed.error());
    return options;
  }

  [[nodiscard]] bool has(uint16_t type) const { return attrs_[type].data() != nullptr; }
  [[nodiscard]] std::span<const uint8_t> bytes(uint16_t type) const { return attrs_[type]; }
  [[nodiscard]] uint32_t unknown() const { return unknown_; }
  [[nodiscard]] bool malformed() const { return malformed_; }
  void mark_malformed() { malformed_ = true; }

  uint8_t u8(uint16_t type, uint8_t fallback) { return number<uint8_t>(type, fallback); }
  uint16_t u16(uint16_t type, uint16_t fallback) { return number<uint16_t>(type, fallback); }
  uint32_t u32(uint16_t type, uint32_t fallback) { return number<uint32_t>(type, fallback); }
  uint64_t u64(uint16_t type, uint64_t fallback) { return number<uint64_t>(type, fallback); }
  uint16_t be16(uint16_t type, uint16_t fallback) {
    const uint16_t value = u16(type, 0);
    if (!has(type)) return fallback;
    return ntohs(value);
  }
  uint32_t be32(uint16_t type, uint32_t fallback) {
    const uint32_t value = u32(type, 0);
    if (!has(type)) return fallback;
    return ntohl(value);
  }
  IpAddr address(uint16_t type, Family family) {
    IpAddr out{family, {}};
    if (attrs_[type].size() != out.size()) {
      malformed_ = true;
    } else {
      std::memcpy(out.bytes.data(), attrs_[type].data(), out.size());
    }
    return out;
  }
  // A fixed struct (TCA_*_PARMS); newer kernels may append to it.
  template <typename Parms>
  Parms parms(uint16_t type) {
    Parms out{};
    if (attrs_[type].size() < sizeof out) {
      malformed_ = true;
    } else {
      std::memcpy(&out, attrs_[type].data(), sizeof out);
    }
    return out;
  }
  [[nodiscard]] std::string string(uint16_t type) const {
    return std::string(netlink::Attr{type, attrs_[type]}.string());
  }

  // Is every attribute with a number up to Max one of these?
  [[nodiscard]] bool only(std::initializer_list<uint16_t> modelled) const {
    size_t seen = 0;
    size_t listed = 0;
    for (const auto& attr : attrs_) seen += attr.data() != nullptr ? 1 : 0;
    for (const uint16_t type : modelled) listed += has(type) ? 1 : 0;
    return seen == listed;
  }

 private:
  template <typename Int>
  Int number(uint16_t type, Int fallback) {
    if (!has(type)) return fallback;
    Int value{};
    if (attrs_[type].size() != sizeof value) {
      malformed_ = true;
      return fallback;
    }
    std::memcpy(&value, attrs_[type].data(), sizeof value);
    return value;
  }

  std::array<std::span<const uint8_t>, static_cast<size_t>(Max) + 1> attrs_{};
  uint32_t unknown_ = 0;
  bool malformed_ = false;
};

}  // namespace sepal::tc
