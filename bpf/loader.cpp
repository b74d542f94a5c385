// Loading, pinning and filling: see loader.hpp; libbpf.h; linux:kernel/bpf/lpm_trie.c for what the maps promise.
#include "bpf/loader.hpp"

#include <bpf/bpf.h>
#include <icmp.skel.h>
#include <linux/bpf.h>
#include <neighbour.skel.h>
#include <slice.skel.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "bpf/objects.hpp"

namespace sepal::bpf {
namespace {

constexpr size_t kReadBatch = 1024;  // entries per system call

template <typename Entry>
Result<std::vector<Entry>> read_entries(int fd) {
  using Key = typename Entry::Key;
  using Value = typename Entry::Value;
  std::vector<Key> keys(kReadBatch);
  std::vector<Value> values(kReadBatch);
  std::vector<Entry> entries;
  Key position{};
  bool at_start = true;
  for (bool at_end = false; !at_end;) {
    auto count = static_cast<uint32_t>(kReadBatch);
    const int failed = ::bpf_map_lookup_batch(fd, at_start ? nullptr : &position, &position, keys.data(), values.data(),
                                              &count, nullptr);
    // ENOENT: the end was reached, with `count` entries before it.
    if (failed != 0 && errno != ENOENT) return fail_errno(errno, "read an eBPF map");
    at_end = failed != 0;
    at_start = false;
    for (uint32_t i = 0; i < count; ++i) {
      entries.push_back({keys[i], values[i]});
      clear_ignored_bits(entries.back().key);
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return compare_keys(a.key, b.key) < 0; });
  return entries;
}

template <typename Entry>
Result<Changes<Entry>> changes_of(int fd, std::vector<Entry> wanted) {
  auto present = read_entries<Entry>(fd);
  if (!present) return Unexpected(present.error());
  return compare(std::move(wanted), std::move(*present));
}

template <typename Entry>
Result<void> write_all(int fd, const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    if (::bpf_map_update_elem(fd, &entry.key, &entry.value, BPF_ANY) != 0) {
      return fail_errno(errno, "write eBPF map entry " + to_string(entry));
    }
  }
  return {};
}

template <typename Entry>
Result<void> remove_all(int fd, const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    if (::bpf_map_delete_elem(fd, &entry.key) != 0 && errno != ENOENT) {
      return fail_errno(errno, "remove eBPF map entry " + to_string(entry));
    }
  }
  return {};
}

// The pinned map of this kind: its name may carry a version that only the program knows.
template <typename Entry>
Result<std::vector<Entry>> read_pinned_map(const Pins& pins, std::string_view kind) {
  auto names = pins.names();
  if (!names) return Unexpected(names.error());
  for (const std::string& name : *names) {
    if (name.rfind(kind, 0) != 0) continue;
    auto fd = pins.open(name);
    if (!fd) return Unexpected(fd.error());
    if (!fd->valid()) continue;
    auto info = map_info(fd->get());
    if (!info) return Unexpected(info.error());
    if (info->key_size == sizeof(typename Entry::Key) && info->value_size == sizeof(typename Entry::Value)) {
      return read_entries<Entry>(fd->get());
    }
  }
  return std::vector<Entry>{};
}

}  // namespace

Code built_in_code() {
  Code code;
  code.neighbour.bytes = ::neighbour_bpf__elf_bytes(&code.neighbour.size);
  code.slice.bytes = ::slice_bpf__elf_bytes(&code.slice.size);
  code.icmp.bytes = ::icmp_bpf__elf_bytes(&code.icmp.size);
  return code;
}

Result<SlowPath> SlowPath::load(const Place& place, const Code& code) {
  auto pins = Pins::at(place.bpffs, place.instance);
  if (!pins) return Unexpected(pins.error());
  auto neighbour = adopt(*pins, code.neighbour, {"sepal_neighbours"});
  if (!neighbour) return Unexpected(neighbour.error());
  auto slice = adopt(*pins, code.slice, {"sepal_slices"});
  if (!slice) return Unexpected(slice.error());
  auto icmp = adopt(*pins, code.icmp, {});
  if (!icmp) return Unexpected(icmp.error());
  return SlowPath(std::move(*pins), std::move(*neighbour), std::move(*slice), std::move(*icmp));
}

bool SlowPath::is_pinned() const { return neighbour_.is_pinned() && slice_.is_pinned() && icmp_.is_pinned(); }

Result<void> SlowPath::pin(const std::vector<std::string>& others) {
  std::vector<std::string> kept = others;
  for (Adopted* object : {&neighbour_, &slice_, &icmp_}) {
    if (auto done = bpf::pin(pins_, *object); !done) return done;
    for (std::string& name : object->names()) kept.push_back(std::move(name));
  }
  auto names = pins_.names();
  if (!names) return Unexpected(names.error());
  for (const std::string& name : *names) {
    if (std::find(kept.begin(), kept.end(), name) != kept.end()) continue;
    if (auto gone = pins_.unpin(name); !gone) return gone;
  }
  return {};
}

Result<Changes<Neighbour>> SlowPath::changes(std::vector<Neighbour> wanted) const {
  return changes_of(neighbour_.maps.front().fd.get(), std::move(wanted));
}
Result<Changes<Slice>> SlowPath::changes(std::vector<Slice> wanted) const {
  return changes_of(slice_.maps.front().fd.get(), std::move(wanted));
}

template <typename Entry>
Result<size_t> SlowPath::put_entries(const AdoptedMap& map, std::vector<Entry> wanted) {
  const size_t entries = wanted.size();
  auto present = read_entries<Entry>(map.fd.get());
  if (!present) return Unexpected(present.error());
  const size_t present_size = present->size();
  auto changes = compare(std::move(wanted), std::move(*present));
  if (!changes) return Unexpected(changes.error());
  // One place stays free: a full trie of kernels before 6.13 refuses even to replace an entry.
  const size_t places = map.entries_max - 1;
  if (present_size - changes->stale.size() + changes->added.size() > places) {
    return fail(Errc::unsupported, std::to_string(entries) + " entries are wanted in eBPF map " + map.name + ", " +
                                       std::to_string(places) + " fit");
  }
  size_t writes = changes->added.size() + changes->changed.size();
  if (present_size + changes->added.size() > places) {
    if (auto removed = remove_all(map.fd.get(), changes->stale); !removed) return Unexpected(removed.error());
    writes += changes->stale.size();
  }
  for (const auto* list : {&changes->changed, &changes->added}) {
    if (auto written = write_all(map.fd.get(), *list); !written) return Unexpected(written.error());
  }
  return writes;
}

template <typename Entry>
Result<size_t> SlowPath::drop_stale_entries(const AdoptedMap& map, std::vector<Entry> wanted) {
  auto changes = changes_of(map.fd.get(), std::move(wanted));
  if (!changes) return Unexpected(changes.error());
  if (auto removed = remove_all(map.fd.get(), changes->stale); !removed) return Unexpected(removed.error());
  return changes->stale.size();
}

Result<size_t> SlowPath::put(std::vector<Neighbour> wanted) {
  return put_entries(neighbour_.maps.front(), std::move(wanted));
}
Result<size_t> SlowPath::put(std::vector<Slice> wanted) { return put_entries(slice_.maps.front(), std::move(wanted)); }
Result<size_t> SlowPath::drop_stale(std::vector<Neighbour> wanted) {
  return drop_stale_entries(neighbour_.maps.front(), std::move(wanted));
}
Result<size_t> SlowPath::drop_stale(std::vector<Slice> wanted) {
  return drop_stale_entries(slice_.maps.front(), std::move(wanted));
}

Result<void> SlowPath::put_some(const std::vector<Neighbour>& entries) {
  return write_all(neighbour_.maps.front().fd.get(), entries);
}
Result<void> SlowPath::put_some(const std::vector<Slice>& entries) {
  return write_all(slice_.maps.front().fd.get(), entries);
}
Result<void> SlowPath::drop_some(const std::vector<Neighbour>& entries) {
  return remove_all(neighbour_.maps.front().fd.get(), entries);
}
Result<void> SlowPath::drop_some(const std::vector<Slice>& entries) {
  return remove_all(slice_.maps.front().fd.get(), entries);
}

Result<size_t> SlowPath::sync_neighbours(const std::vector<Neighbour>& wanted) {
  auto written = put(wanted);
  if (!written) return written;
  auto removed = drop_stale(wanted);
  if (!removed) return removed;
  return *written + *removed;
}
Result<size_t> SlowPath::sync_slices(const std::vector<Slice>& wanted) {
  auto written = put(wanted);
  if (!written) return written;
  auto removed = drop_stale(wanted);
  if (!removed) return removed;
  return *written + *removed;
}

Result<Contents> read_pinned(const Place& place) {
  auto pins = Pins::at(place.bpffs, place.instance);
  if (!pins) return Unexpected(pins.error());
  auto neighbours = read_pinned_map<Neighbour>(*pins, "sepal_neighbours");
  if (!neighbours) return Unexpected(neighbours.error());
  auto slices = read_pinned_map<Slice>(*pins, "sepal_slices");
  if (!slices) return Unexpected(slices.error());
  return Contents{std::move(*neighbours), std::move(*slices)};
}

Result<bool> remove(const Place& place) {
  auto pins = Pins::at(place.bpffs, place.instance);
  if (!pins) return Unexpected(pins.error());
  return pins->remove();
}

}  // namespace sepal::bpf
