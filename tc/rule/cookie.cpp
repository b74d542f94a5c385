// The 16 bytes that say "ours" on the last action of a filter (TCA_ACT_COOKIE, linux/pkt_cls.h). The layout is drawn in
// rule.hpp; a change of it, or of what the content hash covers, is a new Cookie::kLayout.
#include <cstring>

#include "tc/rule/rule.hpp"

namespace sepal::tc {
namespace {

constexpr std::array<uint8_t, 3> kMagic = {'S', 'P', 'L'};

template <typename Int>
void put_be(uint8_t* to, Int value) {
  for (size_t i = sizeof value; i-- > 0;) {
    to[i] = static_cast<uint8_t>(value);
    value = static_cast<Int>(static_cast<uint64_t>(value) >> 8U);
  }
}

uint64_t get_be(const uint8_t* from, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value = value << 8U | from[i];
  return value;
}

}  // namespace

std::array<uint8_t, limits::kCookieBytes> Cookie::bytes() const {
  std::array<uint8_t, limits::kCookieBytes> out{};
  std::memcpy(out.data(), kMagic.data(), kMagic.size());
  out[3] = layout;
  put_be(out.data() + 4, instance);
  put_be(out.data() + 6, zone.value());
  put_be(out.data() + 8, content);
  return out;
}

std::optional<Cookie> Cookie::parse(const uint8_t* data, size_t size) {
  if (size != limits::kCookieBytes || std::memcmp(data, kMagic.data(), kMagic.size()) != 0) return std::nullopt;
  Cookie cookie;
  cookie.layout = data[3];
  cookie.instance = static_cast<uint16_t>(get_be(data + 4, 2));
  cookie.zone = Zone(static_cast<uint16_t>(get_be(data + 6, 2)));
  cookie.content = get_be(data + 8, 8);
  return cookie;
}

}  // namespace sepal::tc
