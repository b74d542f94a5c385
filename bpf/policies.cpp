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
#include <set>

#include "bpf/map_keys.hpp"

namespace sepal::bpf {
namespace {

constexpr uint32_t kWriteBatch = 4096;  // entries per system call

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

}  // namespace

ObjectCode built_in_policy_code() {
  ObjectCode code;
  code.bytes = ::policy_bpf__elf_bytes(&code.size);
  return code;
}

Result<Policies> Policies::load(const Place& place, const ObjectCode& code) {
  auto pins = Pins::at(place.bpffs, place.instance);
  if (!pins) return Unexpected(pins.error());
  auto object = adopt(*pins, code,
                      {"sepal_spaces_2", "sepal_ends_2", "sepal_choices_2", "sepal_counts", "sepal_events",
                       "sepal_lost", "sepal_untracked"});
  if (!object) return Unexpected(object.error());
  return Policies(std::move(*pins), std::move(*object));
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
      return fail_errno(errno, "enter a policy's tables into eBPF map " + object_.maps[which].name);
  }
  return false;
}

Result<void> Policies::activate(Vni vni, uint64_t space) {
  const uint32_t key = vni.value();
  const sepal_space value{space};
  if (::bpf_map_update_elem(fd(kSpaces), &key, &value, BPF_ANY) != 0)
    return fail_errno(errno, "put a policy of VNI " + std::to_string(key) + " into force");
  return {};
}

void Policies::wait_for_packets() {
  // membarrier's global command waits for an RCU grace period, and packets are in a read section all the way from tc to
  // conntrack. Where a kernel refuses it (nohz_full), the window that remains is the time of one packet.
  ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
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

Result<std::vector<RuleCount>> Policies::counts() const {
  auto keys = keys_of<sepal_count_key>(fd(kCounts));
  if (!keys) return Unexpected(keys.error());
  const int cpus = ::libbpf_num_possible_cpus();
  if (cpus < 1) return fail_errno(-cpus, "count the CPUs");
  std::vector<sepal_count> by_cpu(static_cast<size_t>(cpus));
  std::vector<RuleCount> counts;
  for (const sepal_count_key& key : *keys) {
    if (::bpf_map_lookup_elem(fd(kCounts), &key, by_cpu.data()) != 0) continue;  // gone meanwhile
    RuleCount& count = counts.emplace_back(RuleCount{Vni(key.vni), key.rule});
    for (const sepal_count& one : by_cpu) {
      count.allowed += one.allowed;
      count.denied += one.denied;
      count.audited += one.audited;
    }
  }
  std::sort(counts.begin(), counts.end());
  return counts;
}

Result<void> Policies::forget_untracked(const std::function<bool(Vni, const IpAddr&, const IpAddr&)>& gone) {
  constexpr uint32_t kReadBatch = 1024;  // buckets per system call
  std::vector<uint32_t> numbers(kReadBatch);
  std::vector<sepal_untracked_bucket> buckets(kReadBatch);
  bpf_map_batch_opts options{};
  options.sz = sizeof options;
  options.elem_flags = BPF_F_LOCK;
  uint32_t from = 0;
  for (bool first = true, more = true; more; first = false) {
    uint32_t count = kReadBatch;
    const int done = ::bpf_map_lookup_batch(fd(kUntracked), first ? nullptr : &from, &from, numbers.data(),
                                            buckets.data(), &count, &options);
    if (done != 0 && errno != ENOENT) return fail_errno(errno, "read flows that were let go");
    more = done == 0;
    for (uint32_t i = 0; i < count; ++i) {
      bool changed = false;
      for (sepal_untracked_flow& flow : buckets[i].flows) {
        if (flow.since == 0) continue;
        const bool is_ipv6 = (flow.tuple.network & SEPAL_UNTRACKED_IPV6) != 0;
        if (!gone(Vni(flow.tuple.network & SEPAL_MARK_VNI), address_of(flow.tuple.source, is_ipv6),
                  address_of(flow.tuple.destination, is_ipv6)))
          continue;
        flow = {};
        changed = true;
      }
      if (changed && ::bpf_map_update_elem(fd(kUntracked), &numbers[i], &buckets[i], BPF_F_LOCK) != 0)
        return fail_errno(errno, "forget a flow that was let go");
    }
  }
  return {};
}

Result<uint64_t> Policies::events_lost() const {
  const int cpus = ::libbpf_num_possible_cpus();
  if (cpus < 1) return fail_errno(-cpus, "count the CPUs");
  std::vector<uint64_t> by_cpu(static_cast<size_t>(cpus));
  const uint32_t only = 0;
  if (::bpf_map_lookup_elem(fd(kLost), &only, by_cpu.data()) != 0)
    return fail_errno(errno, "read how many events were lost");
  uint64_t lost = 0;
  for (const uint64_t one : by_cpu) lost += one;
  return lost;
}

}  // namespace sepal::bpf
