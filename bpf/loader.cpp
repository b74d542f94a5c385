// Loading, pinning and filling: see loader.hpp; libbpf.h; linux:kernel/bpf/lpm_trie.c for what the maps promise.
#include "bpf/loader.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <neighbour.skel.h>
#include <slice.skel.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
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
  return code;
}

Result<SlowPath::Object> SlowPath::load_object(const Pins& pins, const ObjectCode& code) {
  CollectedWords words;
  std::unique_ptr<bpf_object, CloseObject> object(::bpf_object__open_mem(code.bytes, code.size, nullptr));
  if (object == nullptr) return fail_errno(errno, "read the built-in eBPF object", words.text());
  bpf_program* program = ::bpf_object__next_program(object.get(), nullptr);
  bpf_map* map = ::bpf_object__next_map(object.get(), nullptr);
  // One map: a second one would be .rodata, whose content a program's tag does not cover.
  if (program == nullptr || map == nullptr || ::bpf_object__next_map(object.get(), map) != nullptr) {
    return fail(Errc::internal, "an eBPF object must hold one program and one map");
  }

  Object result;
  result.program.name = ::bpf_program__name(program);
  result.map.name = ::bpf_map__name(map);

  auto pinned_map = pins.open(result.map.name);
  if (!pinned_map) return Unexpected(pinned_map.error());
  if (pinned_map->valid()) {
    auto info = map_info(pinned_map->get());
    if (!info) return Unexpected(while_doing(info.error(), pins.path(result.map.name)));
    if (!same_layout(*info, map)) {
      return fail(Errc::conflict, pins.path(result.map.name) + " is not a map of ours: unpin it (rm) and apply again");
    }
    if (const int failed = ::bpf_map__reuse_fd(map, pinned_map->get()); failed != 0) {
      return fail_errno(-failed, "adopt " + pins.path(result.map.name), words.text());
    }
  }
  if (const int failed = ::bpf_object__load(object.get()); failed != 0) {
    const std::string why = failed == -EPERM ? " (needs root, or CAP_BPF and CAP_NET_ADMIN)" : "";
    return fail_errno(-failed, "load eBPF program " + result.program.name + why, words.text());
  }
  auto loaded = program_info(::bpf_program__fd(program));
  if (!loaded) return Unexpected(loaded.error());

  auto pinned_program = pins.open(result.program.name);
  if (!pinned_program) return Unexpected(pinned_program.error());
  if (pinned_program->valid()) {
    auto info = program_info(pinned_program->get());
    if (!info) return Unexpected(while_doing(info.error(), pins.path(result.program.name)));
    // Rules run the pinned one, so its map is the one to fill, even where somebody unpinned or replaced that map.
    if (info->tag == loaded->tag && info->map_ids.size() == 1) {
      loaded = std::move(info);
      result.program.fd = std::move(*pinned_program);
      // By its pin, which needs no more than CAP_BPF; by id, which takes CAP_SYS_ADMIN, only when the pin is another's.
      if (auto at_name = pinned_map->valid() ? map_info(pinned_map->get()) : Result<bpf_map_info>();
          at_name && at_name->id == loaded->map_ids.front()) {
        auto map_fd = duplicate(pinned_map->get());
        if (!map_fd) return Unexpected(map_fd.error());
        result.map.fd = std::move(*map_fd);
      } else {
        result.map.fd = UniqueFd(::bpf_map_get_fd_by_id(loaded->map_ids.front()));
      }
      if (!result.map.fd.valid()) return fail_errno(errno, "open the map of " + pins.path(result.program.name));
      result.pinned = true;
    }
  }
  if (!result.pinned) {
    auto program_fd = duplicate(::bpf_program__fd(program));
    if (!program_fd) return Unexpected(program_fd.error());
    auto map_fd = duplicate(::bpf_map__fd(map));
    if (!map_fd) return Unexpected(map_fd.error());
    result.program.fd = std::move(*program_fd);
    result.map.fd = std::move(*map_fd);
  }
  result.program.tag = loaded->tag;
  result.program.id = loaded->id;

  auto info = map_info(result.map.fd.get());
  if (!info) return Unexpected(info.error());
  result.map.id = info->id;
  result.map.entries_max = info->max_entries;
  if (pinned_map->valid()) {
    auto at_name = map_info(pinned_map->get());
    if (!at_name) return Unexpected(at_name.error());
    result.map.pinned = at_name->id == result.map.id;
  }
  return result;
}

Result<SlowPath> SlowPath::load(const Place& place, const Code& code) {
  auto pins = Pins::at(place.bpffs, place.instance);
  if (!pins) return Unexpected(pins.error());
  auto neighbour = load_object(*pins, code.neighbour);
  if (!neighbour) return Unexpected(neighbour.error());
  auto slice = load_object(*pins, code.slice);
  if (!slice) return Unexpected(slice.error());
  return SlowPath(std::move(*pins), std::move(*neighbour), std::move(*slice));
}

bool SlowPath::is_pinned() const {
  return neighbour_.pinned && neighbour_.map.pinned && slice_.pinned && slice_.map.pinned;
}

Result<void> SlowPath::pin(const std::vector<std::string>& others) {
  if (!is_pinned()) {
    if (auto made = pins_.create(); !made) return made;
  }
  // Maps first: killed in between, the next start finds a map without a program and adopts it.
  for (Object* object : {&neighbour_, &slice_}) {
    if (!object->map.pinned) {
      if (auto done = pins_.pin(object->map.fd.get(), object->map.name); !done) return done;
      object->map.pinned = true;
    }
    if (!object->pinned) {
      if (auto done = pins_.pin(object->program.fd.get(), object->program.name); !done) return done;
      object->pinned = true;
    }
  }
  auto names = pins_.names();
  if (!names) return Unexpected(names.error());
  for (const std::string& name : *names) {
    const bool wanted = name == neighbour_.program.name || name == neighbour_.map.name || name == slice_.program.name ||
                        name == slice_.map.name;
    if (wanted || std::find(others.begin(), others.end(), name) != others.end()) continue;
    if (auto gone = pins_.unpin(name); !gone) return gone;
  }
  return {};
}

Result<Changes<Neighbour>> SlowPath::changes(std::vector<Neighbour> wanted) const {
  return changes_of(neighbour_.map.fd.get(), std::move(wanted));
}
Result<Changes<Slice>> SlowPath::changes(std::vector<Slice> wanted) const {
  return changes_of(slice_.map.fd.get(), std::move(wanted));
}

template <typename Entry>
Result<size_t> SlowPath::put_entries(const Map& map, std::vector<Entry> wanted) {
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
Result<size_t> SlowPath::drop_stale_entries(const Map& map, std::vector<Entry> wanted) {
  auto changes = changes_of(map.fd.get(), std::move(wanted));
  if (!changes) return Unexpected(changes.error());
  if (auto removed = remove_all(map.fd.get(), changes->stale); !removed) return Unexpected(removed.error());
  return changes->stale.size();
}

Result<size_t> SlowPath::put(std::vector<Neighbour> wanted) { return put_entries(neighbour_.map, std::move(wanted)); }
Result<size_t> SlowPath::put(std::vector<Slice> wanted) { return put_entries(slice_.map, std::move(wanted)); }
Result<size_t> SlowPath::drop_stale(std::vector<Neighbour> wanted) {
  return drop_stale_entries(neighbour_.map, std::move(wanted));
}
Result<size_t> SlowPath::drop_stale(std::vector<Slice> wanted) {
  return drop_stale_entries(slice_.map, std::move(wanted));
}

Result<void> SlowPath::put_some(const std::vector<Neighbour>& entries) {
  return write_all(neighbour_.map.fd.get(), entries);
}
Result<void> SlowPath::put_some(const std::vector<Slice>& entries) { return write_all(slice_.map.fd.get(), entries); }
Result<void> SlowPath::drop_some(const std::vector<Neighbour>& entries) {
  return remove_all(neighbour_.map.fd.get(), entries);
}
Result<void> SlowPath::drop_some(const std::vector<Slice>& entries) { return remove_all(slice_.map.fd.get(), entries); }

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
