// Entries of the maps as values: built from the network's types, compared, and told apart into what to write and what
// to remove. Pure; the layouts are bpf/shared.h's.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <vector>

#include "base/net_types.hpp"
#include "base/result.hpp"
#include "bpf/shared.h"

namespace sepal::bpf {

// Who answers for an address: one entry of map sepal_neighbours_2.
struct Neighbour {
  using Key = sepal_neighbour_key;
  using Value = sepal_neighbour_value;
  Key key{};
  Value value{};
};

// Which slice a port of a shared public address belongs to: one entry of map sepal_slices.
struct Slice {
  using Key = sepal_slice_key;
  using Value = sepal_slice_value;
  Key key{};
  Value value{};
};

// `vlan` 0: untagged.
sepal_neighbour_key make_neighbour_key(IfIndex device, Vid vlan, const IpPrefix& target);
sepal_neighbour_value make_neighbour_value(sepal_answer answer, const MacAddr& mac, bool own = false);
// The 2^(16 - port_bits) ports that begin at `port`, host byte order.
sepal_slice_key make_slice_key(const IpAddr& address, uint16_t port, uint8_t port_bits);
inline sepal_slice_value make_slice_value(uint32_t slice) { return {slice}; }

// "device 7 vlan 30: 10.0.0.0/24 → gateway 02:00:00:00:00:01", "203.0.113.10 ports 1024-2047 → slice 3"
std::string to_string(const Neighbour& entry);
std::string to_string(const Slice& entry);

// Clears the bits behind the prefix. The kernel keeps them as they were written and ignores them: two keys that differ
// there only are one entry.
void clear_ignored_bits(sepal_neighbour_key& key);
void clear_ignored_bits(sepal_slice_key& key);

std::strong_ordering compare_keys(const sepal_neighbour_key& a, const sepal_neighbour_key& b);
std::strong_ordering compare_keys(const sepal_slice_key& a, const sepal_slice_key& b);
bool operator==(const Neighbour& a, const Neighbour& b);
bool operator==(const Slice& a, const Slice& b);

// What separates a map from what is wanted. Each list is sorted by key.
template <typename Entry>
struct Changes {
  std::vector<Entry> added;
  std::vector<Entry> changed;  // as wanted
  std::vector<Entry> stale;    // as they are

  [[nodiscard]] size_t size() const { return added.size() + changed.size() + stale.size(); }
  [[nodiscard]] bool empty() const { return size() == 0; }
  bool operator==(const Changes&) const = default;
};

// Order does not matter. A key that is wanted twice with different values is a fault of the caller.
Result<Changes<Neighbour>> compare(std::vector<Neighbour> wanted, std::vector<Neighbour> present);
Result<Changes<Slice>> compare(std::vector<Slice> wanted, std::vector<Slice> present);

}  // namespace sepal::bpf
