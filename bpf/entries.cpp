// Map entries as values: see entries.hpp.
#include "bpf/entries.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace sepal::bpf {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr uint32_t kNeighbourFixedBits = 64;  // device, vlan, zero
constexpr uint32_t kSliceFixedBits = 128;     // address
constexpr uint32_t kMappedBits = 96;

void put_address(uint8_t (&to)[16], const IpAddr& address) {
  if (address.is_v4()) {
    std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), to);
    std::copy_n(address.bytes.begin(), 4, to + kMappedPrefix.size());
  } else {
    std::copy(address.bytes.begin(), address.bytes.end(), to);
  }
}

IpAddr get_address(const uint8_t (&from)[16]) {
  IpAddr address;
  if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), from)) {
    std::copy_n(from + kMappedPrefix.size(), 4, address.bytes.begin());
  } else {
    address.family = Family::ipv6;
    std::copy_n(from, 16, address.bytes.begin());
  }
  return address;
}

// Keys have no padding (their sizes are asserted in shared.h), so bytes are values.
template <typename Key>
void clear_bits_behind(Key& key) {
  auto* bytes = reinterpret_cast<uint8_t*>(&key) + sizeof key.prefix_bits;
  const size_t size = sizeof key - sizeof key.prefix_bits;
  for (size_t i = 0; i < size; ++i) {
    const size_t first_bit = i * 8;
    if (first_bit >= key.prefix_bits) {
      bytes[i] = 0;
    } else if (key.prefix_bits - first_bit < 8) {
      bytes[i] = static_cast<uint8_t>(bytes[i] & (0xff00U >> (key.prefix_bits - first_bit)));
    }
  }
}

template <typename Key>
std::strong_ordering compare_bytes(const Key& a, const Key& b) {
  return std::memcmp(&a, &b, sizeof a) <=> 0;
}

template <typename Entry>
bool same_value(const Entry& a, const Entry& b) {
  return std::memcmp(&a.value, &b.value, sizeof a.value) == 0;
}

template <typename Entry>
void sort_by_key(std::vector<Entry>& entries) {
  for (Entry& entry : entries) clear_ignored_bits(entry.key);
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return compare_keys(a.key, b.key) < 0; });
}

template <typename Entry>
Result<Changes<Entry>> compare_entries(std::vector<Entry> wanted, std::vector<Entry> present) {
  sort_by_key(wanted);
  sort_by_key(present);
  for (size_t i = 1; i < wanted.size(); ++i) {
    if (compare_keys(wanted[i - 1].key, wanted[i].key) == 0 && !same_value(wanted[i - 1], wanted[i])) {
      return fail(Errc::internal,
                  "two entries for one key: " + to_string(wanted[i - 1]) + " and " + to_string(wanted[i]));
    }
  }
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());

  Changes<Entry> changes;
  auto have = present.begin();
  for (const Entry& want : wanted) {
    while (have != present.end() && compare_keys(have->key, want.key) < 0) changes.stale.push_back(*have++);
    if (have == present.end() || compare_keys(have->key, want.key) != 0) {
      changes.added.push_back(want);
    } else {
      if (!same_value(*have, want)) changes.changed.push_back(want);
      ++have;
    }
  }
  changes.stale.insert(changes.stale.end(), have, present.end());
  return changes;
}

}  // namespace

sepal_neighbour_key make_neighbour_key(IfIndex device, Vid vlan, const IpPrefix& target) {
  sepal_neighbour_key key{};
  key.prefix_bits = kNeighbourFixedBits + (target.address.is_v4() ? kMappedBits : 0) + target.length;
  key.device = device.value();
  key.vlan = vlan.value();
  put_address(key.address, target.address);
  clear_ignored_bits(key);
  return key;
}

sepal_neighbour_value make_neighbour_value(sepal_answer answer, const MacAddr& mac, bool own) {
  sepal_neighbour_value value{};
  value.answer = static_cast<uint8_t>(answer);
  value.own = own ? 1 : 0;
  std::copy(mac.bytes.begin(), mac.bytes.end(), value.mac);
  return value;
}

sepal_slice_key make_slice_key(const IpAddr& address, uint16_t port, uint8_t port_bits) {
  sepal_slice_key key{};
  key.prefix_bits = kSliceFixedBits + port_bits;
  put_address(key.address, address);
  key.port[0] = static_cast<uint8_t>(port >> 8U);
  key.port[1] = static_cast<uint8_t>(port & 0xffU);
  clear_ignored_bits(key);
  return key;
}

std::string to_string(const Neighbour& entry) {
  const IpAddr address = get_address(entry.key.address);
  const uint32_t fixed = kNeighbourFixedBits + (address.is_v4() ? kMappedBits : 0);
  std::string text = "device " + std::to_string(entry.key.device);
  if (entry.key.vlan != 0) text += " vlan " + std::to_string(entry.key.vlan);
  // Whoever writes other prefixes than ours still gets a line that can be read.
  const uint32_t length = entry.key.prefix_bits >= fixed ? entry.key.prefix_bits - fixed : 0;
  text += ": " + address.to_string() + "/" + std::to_string(length) + " → ";
  MacAddr mac;
  std::copy_n(entry.value.mac, mac.bytes.size(), mac.bytes.begin());
  switch (entry.value.answer) {
    case SEPAL_ANSWER_SILENT: return text + "silent";
    case SEPAL_ANSWER_NEIGHBOUR:
      return text + "neighbour " + mac.to_string() + (entry.value.own != 0 ? ", the port's own too" : "");
    case SEPAL_ANSWER_GATEWAY: return text + "gateway " + mac.to_string();
    case SEPAL_ANSWER_GUARD: return text + "guard " + mac.to_string();
    default: return text + "answer " + std::to_string(entry.value.answer);
  }
}

std::string to_string(const Slice& entry) {
  const unsigned port_bits = entry.key.prefix_bits >= kSliceFixedBits ? entry.key.prefix_bits - kSliceFixedBits : 0;
  const auto first = static_cast<uint16_t>(entry.key.port[0] << 8U | entry.key.port[1]);
  const auto last = static_cast<uint16_t>(first | (0xffffU >> std::min(port_bits, 16U)));
  return get_address(entry.key.address).to_string() + " ports " + PortRange{first, last}.to_string() + " → slice " +
         std::to_string(entry.value.slice);
}

void clear_ignored_bits(sepal_neighbour_key& key) { clear_bits_behind(key); }
void clear_ignored_bits(sepal_slice_key& key) { clear_bits_behind(key); }

std::strong_ordering compare_keys(const sepal_neighbour_key& a, const sepal_neighbour_key& b) {
  return compare_bytes(a, b);
}
std::strong_ordering compare_keys(const sepal_slice_key& a, const sepal_slice_key& b) { return compare_bytes(a, b); }

bool operator==(const Neighbour& a, const Neighbour& b) { return compare_keys(a.key, b.key) == 0 && same_value(a, b); }
bool operator==(const Slice& a, const Slice& b) { return compare_keys(a.key, b.key) == 0 && same_value(a, b); }

Result<Changes<Neighbour>> compare(std::vector<Neighbour> wanted, std::vector<Neighbour> present) {
  return compare_entries(std::move(wanted), std::move(present));
}
Result<Changes<Slice>> compare(std::vector<Slice> wanted, std::vector<Slice> present) {
  return compare_entries(std::move(wanted), std::move(present));
}

}  // namespace sepal::bpf
