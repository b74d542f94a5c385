// See policies.hpp; linux:kernel/bpf/map_in_map.c, kernel/bpf/syscall.c (bpf_map_update_elem of maps of maps).
#include "bpf/policies.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/membarrier.h>
#include <policy.skel.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "bpf/objects.hpp"

namespace sepal::bpf {
namespace {

constexpr std::array<const char*, 4> kMapNames = {"sepal_spaces", "sepal_prefixes", "sepal_choices", "sepal_counts"};
constexpr uint32_t kWriteBatch = 4096;  // entries per system call

// Of the maps a program uses, the one of this name. Takes CAP_SYS_ADMIN; asked only when the pin is another's.
Result<UniqueFd> map_of_program(const std::vector<uint32_t>& ids, const std::string& name) {
  for (const uint32_t id : ids) {
    UniqueFd fd(::bpf_map_get_fd_by_id(id));
    if (!fd.valid()) continue;
    auto info = map_info(fd.get());
    if (info && name.compare(0, sizeof info->name - 1, info->name) == 0) return fd;
  }
  return fail(Errc::not_found, "no map " + name + " of the pinned program");
}

Result<UniqueFd> make_map(bpf_map_type type, const char* name, uint32_t key, uint32_t value, size_t entries,
                          uint32_t flags) {
  bpf_map_create_opts options{};
  options.sz = sizeof options;
  options.map_flags = flags;
  // One place more: a full trie of kernels before 6.13 refuses even to replace an entry.
  UniqueFd fd(::bpf_map_create(type, name, key, value, static_cast<uint32_t>(entries + 1), &options));
  if (!fd.valid()) return fail_errno(errno, "make an eBPF map of " + std::to_string(entries) + " entries for a policy");
  return fd;
}

// Batches where the map takes them (a hash does; a trie since 5.15).
template <typename Entry>
Result<void> fill(int fd, const std::vector<Entry>& entries) {
  std::vector<decltype(Entry::key)> keys;
  std::vector<decltype(Entry::value)> values;
  for (size_t at = 0; at < entries.size();) {
    const size_t end = std::min<size_t>(entries.size(), at + kWriteBatch);
    keys.clear();
    values.clear();
    for (; at < end; ++at) {
      keys.push_back(entries[at].key);
      values.push_back(entries[at].value);
    }
    auto count = static_cast<uint32_t>(keys.size());
    if (::bpf_map_update_batch(fd, keys.data(), values.data(), &count, nullptr) != 0)
      return fail_errno(errno, "fill an eBPF map of a policy");
  }
  return {};
}

template <typename Key>
Result<std::vector<Key>> keys_of(int fd) {
  std::vector<Key> keys;
  Key next{};
  const Key* before = nullptr;
  while (::bpf_map_get_next_key(fd, before, &next) == 0) {
    keys.push_back(next);
    before = &keys.back();
  }
  if (errno != ENOENT) return fail_errno(errno, "list an eBPF map");
  return keys;
}

// Waits until every packet that was on its way has left the program and committed, or not.
void wait_for_packets() {
  // membarrier's global command waits for an RCU grace period, and packets are in a read section all the way from tc to
  // conntrack. Where a kernel refuses it (nohz_full), the window that remains is the time of one packet.
  ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

}  // namespace

ObjectCode built_in_policy_code() {
  ObjectCode code;
  code.bytes = ::policy_bpf__elf_bytes(&code.size);
  return code;
}

Result<Policies> Policies::load(const Place& place, const ObjectCode& code) {
  auto pins = Pins::at(place.bpffs, place.instance);
  if (!pins) return Unexpected(pins.error());
  CollectedWords words;
  std::unique_ptr<bpf_object, CloseObject> object(::bpf_object__open_mem(code.bytes, code.size, nullptr));
  if (object == nullptr) return fail_errno(errno, "read the built-in eBPF object", words.text());
  bpf_program* program = ::bpf_object__next_program(object.get(), nullptr);
  if (program == nullptr) return fail(Errc::internal, "the eBPF object of policies holds no program");

  Policies result(std::move(*pins));
  std::array<UniqueFd, kMaps> pinned_maps;
  for (size_t i = 0; i < kMaps; ++i) {
    const std::string name = kMapNames[i];
    result.maps_[i].name = name;
    bpf_map* map = ::bpf_object__find_map_by_name(object.get(), name.c_str());
    if (map == nullptr) return fail(Errc::internal, "the eBPF object of policies holds no map " + name);
    auto pinned = result.pins_.open(name);
    if (!pinned) return Unexpected(pinned.error());
    pinned_maps[i] = std::move(*pinned);
    if (!pinned_maps[i].valid()) continue;
    auto info = map_info(pinned_maps[i].get());
    if (!info) return Unexpected(while_doing(info.error(), result.pins_.path(name)));
    if (!same_layout(*info, map)) {
      return fail(Errc::conflict, result.pins_.path(name) + " is not a map of ours: unpin it (rm) and apply again");
    }
    if (const int failed = ::bpf_map__reuse_fd(map, pinned_maps[i].get()); failed != 0)
      return fail_errno(-failed, "adopt " + result.pins_.path(name), words.text());
  }
  if (const int failed = ::bpf_object__load(object.get()); failed != 0) {
    const std::string why = failed == -EPERM ? " (needs root, or CAP_BPF and CAP_NET_ADMIN)" : "";
    return fail_errno(-failed, std::string("load eBPF program ") + ::bpf_program__name(program) + why, words.text());
  }
  auto loaded = program_info(::bpf_program__fd(program));
  if (!loaded) return Unexpected(loaded.error());
  result.program_.name = ::bpf_program__name(program);

  auto pinned_program = result.pins_.open(result.program_.name);
  if (!pinned_program) return Unexpected(pinned_program.error());
  if (pinned_program->valid()) {
    auto info = program_info(pinned_program->get());
    if (!info) return Unexpected(while_doing(info.error(), result.pins_.path(result.program_.name)));
    // Rules run the pinned one, so its maps are those to fill, even where somebody unpinned or replaced one.
    if (info->tag == loaded->tag) {
      loaded = std::move(info);
      result.program_.fd = std::move(*pinned_program);
      result.pinned_ = true;
    }
  }
  if (!result.pinned_) {
    auto fd = duplicate(::bpf_program__fd(program));
    if (!fd) return Unexpected(fd.error());
    result.program_.fd = std::move(*fd);
  }
  result.program_.tag = loaded->tag;
  result.program_.id = loaded->id;

  for (size_t i = 0; i < kMaps; ++i) {
    Map& map = result.maps_[i];
    if (pinned_maps[i].valid()) {
      auto info = map_info(pinned_maps[i].get());
      if (!info) return Unexpected(info.error());
      map.pinned = std::find(loaded->map_ids.begin(), loaded->map_ids.end(), info->id) != loaded->map_ids.end();
    }
    auto fd = map.pinned ? duplicate(pinned_maps[i].get())
              : result.pinned_
                  ? map_of_program(loaded->map_ids, map.name)
                  : duplicate(::bpf_map__fd(::bpf_object__find_map_by_name(object.get(), map.name.c_str())));
    if (!fd) return Unexpected(while_doing(fd.error(), "open eBPF map " + map.name));
    map.fd = std::move(*fd);
  }
  return result;
}

std::vector<std::string> Policies::names() const {
  std::vector<std::string> names{program_.name};
  for (const Map& map : maps_) names.push_back(map.name);
  return names;
}

Result<void> Policies::pin() {
  const bool all = pinned_ && std::all_of(maps_.begin(), maps_.end(), [](const Map& map) { return map.pinned; });
  if (all) return {};
  if (auto made = pins_.create(); !made) return made;
  // Maps first: killed in between, the next start finds maps without a program and adopts them.
  for (Map& map : maps_) {
    if (map.pinned) continue;
    if (auto done = pins_.pin(map.fd.get(), map.name); !done) return done;
    map.pinned = true;
  }
  if (!pinned_) {
    if (auto done = pins_.pin(program_.fd.get(), program_.name); !done) return done;
    pinned_ = true;
  }
  return {};
}

Result<std::map<Vni, uint64_t>> Policies::active() const {
  auto vnis = keys_of<uint32_t>(fd(kSpaces));
  if (!vnis) return Unexpected(vnis.error());
  std::map<Vni, uint64_t> spaces;
  for (const uint32_t vni : *vnis) {
    sepal_space space{};
    if (::bpf_map_lookup_elem(fd(kSpaces), &vni, &space) != 0)
      return fail_errno(errno, "read which policy is in force");
    spaces[Vni(vni)] = space.id;
  }
  return spaces;
}

Result<bool> Policies::holds(Which which, uint64_t space) const {
  const sepal_space key{space};
  uint32_t id = 0;
  if (::bpf_map_lookup_elem(fd(which), &key, &id) == 0) return true;
  if (errno != ENOENT) return fail_errno(errno, "look for a policy's tables");
  return false;
}

Result<bool> Policies::put(uint64_t space, const std::vector<PrefixEntry>& prefixes,
                           const std::vector<ChoiceEntry>& choices) {
  // A map is entered here when it is filled, the choices last: both there means whole.
  auto has_choices = holds(kChoices, space);
  if (!has_choices) return Unexpected(has_choices.error());
  auto has_prefixes = holds(kPrefixes, space);
  if (!has_prefixes) return Unexpected(has_prefixes.error());
  if (*has_choices && *has_prefixes) return true;

  auto trie = make_map(BPF_MAP_TYPE_LPM_TRIE, "sepal_ends", sizeof(sepal_prefix_key), sizeof(sepal_prefix_value),
                       prefixes.size(), BPF_F_NO_PREALLOC);
  if (!trie) return Unexpected(trie.error());
  if (auto filled = fill(trie->get(), prefixes); !filled) return Unexpected(filled.error());
  auto table = make_map(BPF_MAP_TYPE_HASH, "sepal_rules", sizeof(sepal_choice_key), sizeof(sepal_choice_value),
                        choices.size(), 0);
  if (!table) return Unexpected(table.error());
  if (auto filled = fill(table->get(), choices); !filled) return Unexpected(filled.error());

  const sepal_space key{space};
  for (const auto& [which, inner] : {std::pair(kPrefixes, trie->get()), std::pair(kChoices, table->get())}) {
    if (::bpf_map_update_elem(fd(which), &key, &inner, BPF_ANY) != 0)
      return fail_errno(errno, "enter a policy's tables into eBPF map " + maps_[which].name);
  }
  return false;
}

Result<void> Policies::activate(Vni vni, uint64_t space) {
  const uint32_t key = vni.value();
  const sepal_space value{space};
  if (::bpf_map_update_elem(fd(kSpaces), &key, &value, BPF_ANY) != 0)
    return fail_errno(errno, "put a policy of VNI " + std::to_string(key) + " into force");
  wait_for_packets();
  return {};
}

Result<void> Policies::deactivate(Vni vni) {
  const uint32_t key = vni.value();
  if (::bpf_map_delete_elem(fd(kSpaces), &key) != 0 && errno != ENOENT)
    return fail_errno(errno, "remove the policy of VNI " + std::to_string(key));
  return {};
}

Result<size_t> Policies::drop_unused() {
  auto in_force = active();
  if (!in_force) return Unexpected(in_force.error());
  std::set<uint64_t> used;
  for (const auto& [vni, space] : *in_force) used.insert(space);
  std::set<uint64_t> gone;
  // In the other order than put(): what is half gone is not taken for whole.
  for (const Which which : {kChoices, kPrefixes}) {
    auto spaces = keys_of<sepal_space>(fd(which));
    if (!spaces) return Unexpected(spaces.error());
    for (const sepal_space& space : *spaces) {
      if (used.contains(space.id)) continue;
      if (::bpf_map_delete_elem(fd(which), &space) != 0 && errno != ENOENT)
        return fail_errno(errno, "drop a former policy's tables");
      gone.insert(space.id);
    }
  }
  return gone.size();
}

Result<std::vector<PolicyCount>> Policies::counts() const {
  auto keys = keys_of<sepal_count_key>(fd(kCounts));
  if (!keys) return Unexpected(keys.error());
  const int cpus = ::libbpf_num_possible_cpus();
  if (cpus < 1) return fail_errno(-cpus, "count the CPUs");
  std::vector<sepal_count> by_cpu(static_cast<size_t>(cpus));
  std::vector<PolicyCount> counts;
  for (const sepal_count_key& key : *keys) {
    if (::bpf_map_lookup_elem(fd(kCounts), &key, by_cpu.data()) != 0) continue;  // gone meanwhile
    PolicyCount& count = counts.emplace_back(PolicyCount{Vni(key.vni), key.rule});
    for (const sepal_count& one : by_cpu) {
      count.allowed += one.allowed;
      count.denied += one.denied;
      count.audited += one.audited;
    }
  }
  std::sort(counts.begin(), counts.end());
  return counts;
}

}  // namespace sepal::bpf
