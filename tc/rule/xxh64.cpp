// XXH64, written after its specification (see xxh64.hpp); reads little-endian whatever the machine.
#include "tc/rule/xxh64.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace sepal::tc {
namespace {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87ULL;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4FULL;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9ULL;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63ULL;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5ULL;

uint64_t read_le(const uint8_t* from, size_t size) {
  uint64_t value = 0;
  if (size == sizeof value && std::endian::native == std::endian::little) {
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  for (size_t i = size; i-- > 0;) value = value << 8U | from[i];
  return value;
}

uint64_t round(uint64_t lane, uint64_t input) { return std::rotl(lane + input * kPrime2, 31) * kPrime1; }

}  // namespace

void Xxh64::consume(const uint8_t* stripe) {
  for (size_t i = 0; i < lanes_.size(); ++i) lanes_[i] = round(lanes_[i], read_le(stripe + i * 8, 8));
}

void Xxh64::update(const void* data, size_t size) {
  const auto* from = static_cast<const uint8_t*>(data);
  total_ += size;
  while (size > 0) {
    if (pending_size_ == 0 && size >= kStripe) {
      consume(from);
      from += kStripe;
      size -= kStripe;
      continue;
    }
    const size_t take = std::min(size, kStripe - pending_size_);
    std::memcpy(pending_.data() + pending_size_, from, take);
    pending_size_ += take;
    from += take;
    size -= take;
    if (pending_size_ == kStripe) {
      consume(pending_.data());
      pending_size_ = 0;
    }
  }
}

uint64_t Xxh64::digest() const {
  uint64_t hash = kPrime5;
  if (total_ >= kStripe) {
    hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) + std::rotl(lanes_[3], 18);
    for (const uint64_t lane : lanes_) hash = (hash ^ round(0, lane)) * kPrime1 + kPrime4;
  }
  hash += total_;
  const uint8_t* from = pending_.data();
  size_t left = pending_size_;
  for (; left >= 8; from += 8, left -= 8) {
    hash = std::rotl(hash ^ round(0, read_le(from, 8)), 27) * kPrime1 + kPrime4;
  }
  if (left >= 4) {
    hash = std::rotl(hash ^ (read_le(from, 4) * kPrime1), 23) * kPrime2 + kPrime3;
    from += 4;
    left -= 4;
  }
  for (; left > 0; ++from, --left) hash = std::rotl(hash ^ (*from * kPrime5), 11) * kPrime1;
  hash = (hash ^ (hash >> 33U)) * kPrime2;
  hash = (hash ^ (hash >> 29U)) * kPrime3;
  return hash ^ (hash >> 32U);
}

}  // namespace sepal::tc
