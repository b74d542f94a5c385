// The eBPF objects in the kernel: loaded, pinned, adopted after a restart, replaced on an upgrade, and their maps
// filled. Rules name the programs; who writes rules says so with the descriptor, name and tag given here.
//
// In bpffs, per instance: /sys/fs/bpf/sepal/<instance>/{sepal_neigh,sepal_slice,sepal_icmp,sepal_neighbours_2,
// sepal_slices}.
// How they are adopted and replaced: adopted.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "bpf/adopted.hpp"
#include "bpf/entries.hpp"

namespace sepal::bpf {

struct Place {
  std::string instance;
  std::string bpffs = kBpffs;
};

struct Code {
  ObjectCode neighbour;
  ObjectCode slice;
  ObjectCode icmp;
};
Code built_in_code();

class SlowPath {
 public:
  // Loads the programs, adopts what is pinned, pins nothing: all that `plan` needs. Without bpffs nothing is pinned.
  static Result<SlowPath> load(const Place& place, const Code& code = built_in_code());

  [[nodiscard]] const Program& neighbour() const { return neighbour_.program; }
  [[nodiscard]] const Program& slice() const { return slice_.program; }
  [[nodiscard]] const Program& icmp() const { return icmp_.program; }
  [[nodiscard]] bool is_pinned() const;

  // Makes programs and maps outlive this process; removes what older versions left. Writes nothing that is there
  // already. `others`: names in the directory that are not this object's, and stay.
  Result<void> pin(const std::vector<std::string>& others = {});

  // What separates the maps from what is wanted. Writes nothing.
  [[nodiscard]] Result<Changes<Neighbour>> changes(std::vector<Neighbour> wanted) const;
  [[nodiscard]] Result<Changes<Slice>> changes(std::vector<Slice> wanted) const;

  // Each returns the number of entries written or removed. put: everything wanted is there afterwards; what is not
  // wanted stays, for rules may still lead to it (but goes early where both together would not fit). drop_stale: the
  // rest.
  Result<size_t> put(std::vector<Neighbour> wanted);
  Result<size_t> put(std::vector<Slice> wanted);
  Result<size_t> drop_stale(std::vector<Neighbour> wanted);
  Result<size_t> drop_stale(std::vector<Slice> wanted);
  // The same for a few entries by one who knows what the maps hold: nothing is read. Removing what is not there is no
  // fault.
  Result<void> put_some(const std::vector<Neighbour>& entries);
  Result<void> put_some(const std::vector<Slice>& entries);
  Result<void> drop_some(const std::vector<Neighbour>& entries);
  Result<void> drop_some(const std::vector<Slice>& entries);
  // put, then drop_stale.
  Result<size_t> sync_neighbours(const std::vector<Neighbour>& wanted);
  Result<size_t> sync_slices(const std::vector<Slice>& wanted);

 private:
  SlowPath(Pins pins, Adopted neighbour, Adopted slice, Adopted icmp)
      : pins_(std::move(pins)), neighbour_(std::move(neighbour)), slice_(std::move(slice)), icmp_(std::move(icmp)) {}

  template <typename Entry>
  static Result<size_t> put_entries(const AdoptedMap& map, std::vector<Entry> wanted);
  template <typename Entry>
  static Result<size_t> drop_stale_entries(const AdoptedMap& map, std::vector<Entry> wanted);

  Pins pins_;
  Adopted neighbour_;  // one map each
  Adopted slice_;
  Adopted icmp_;
};

// What the pinned maps hold, sorted; loads nothing. Empty when nothing is pinned.
struct Contents {
  std::vector<Neighbour> neighbours;
  std::vector<Slice> slices;
};
Result<Contents> read_pinned(const Place& place);

// Unpins everything of the instance; true when something was there. Programs that rules still name live on.
Result<bool> remove(const Place& place);

}  // namespace sepal::bpf
