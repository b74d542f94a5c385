// See adopted.hpp; libbpf.h, bpf(2).
#include "bpf/adopted.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "bpf/objects.hpp"

namespace sepal::bpf {
namespace {

// What is pinned under the names of an object's maps; an invalid descriptor where nothing is.
struct PinnedMap {
  UniqueFd fd;
  uint32_t id = 0;
};

Result<PinnedMap> reuse_pinned(const Pins& pins, bpf_map* map, const CollectedWords& words) {
  const std::string name = ::bpf_map__name(map);
  auto fd = pins.open(name);
  if (!fd) return Unexpected(fd.error());
  if (!fd->valid()) return PinnedMap{};
  auto info = map_info(fd->get());
  if (!info) return Unexpected(while_doing(info.error(), pins.path(name)));
  if (!same_layout(*info, map))
    return fail(Errc::conflict, pins.path(name) + " is not a map of ours: unpin it (rm) and apply again");
  if (const int failed = ::bpf_map__reuse_fd(map, fd->get()); failed != 0)
    return fail_errno(-failed, "adopt " + pins.path(name), words.text());
  return PinnedMap{std::move(*fd), info->id};
}

// Of the maps a program uses, the one of this name. Takes CAP_SYS_ADMIN; asked only when the pin is another's.
Result<UniqueFd> map_of_program(const std::vector<uint32_t>& ids, const std::string& name) {
  for (const uint32_t id : ids) {
    UniqueFd fd(::bpf_map_get_fd_by_id(id));
    if (!fd.valid()) {
      if (errno != ENOENT) return fail_errno(errno, "open eBPF map " + name + " of the pinned program");
      continue;
    }
    auto info = map_info(fd.get());
    if (info && name.compare(0, sizeof info->name - 1, info->name) == 0) return fd;
  }
  return fail(Errc::not_found, "no eBPF map " + name + " of the pinned program");
}

Result<AdoptedMap> adopt_map(const PinnedMap& pinned, bpf_map* map, const ProgramInfo& program, bool program_pinned) {
  AdoptedMap result;
  result.name = ::bpf_map__name(map);
  result.pinned = pinned.fd.valid() &&
                  std::find(program.map_ids.begin(), program.map_ids.end(), pinned.id) != program.map_ids.end();
  auto fd = result.pinned    ? duplicate(pinned.fd.get())
            : program_pinned ? map_of_program(program.map_ids, result.name)
                             : duplicate(::bpf_map__fd(map));
  if (!fd) return Unexpected(fd.error());
  auto info = map_info(fd->get());
  if (!info) return Unexpected(info.error());
  result.fd = std::move(*fd);
  result.entries_max = info->max_entries;
  return result;
}

}  // namespace

bool Adopted::is_pinned() const {
  return pinned && std::all_of(maps.begin(), maps.end(), [](const AdoptedMap& map) { return map.pinned; });
}

std::vector<std::string> Adopted::names() const {
  std::vector<std::string> names{program.name};
  for (const AdoptedMap& map : maps) names.push_back(map.name);
  return names;
}

Result<Adopted> adopt(const Pins& pins, const ObjectCode& code, const std::vector<std::string>& maps) {
  CollectedWords words;
  std::unique_ptr<bpf_object, CloseObject> object(::bpf_object__open_mem(code.bytes, code.size, nullptr));
  if (object == nullptr) return fail_errno(errno, "read the built-in eBPF object", words.text());
  bpf_program* program = ::bpf_object__next_program(object.get(), nullptr);
  std::vector<bpf_map*> of_object;
  for (bpf_map* map = nullptr; (map = ::bpf_object__next_map(object.get(), map)) != nullptr;) of_object.push_back(map);
  std::string found;
  for (bpf_map* map : of_object) found += std::string(found.empty() ? "" : ", ") + ::bpf_map__name(map);
  const bool as_expected = std::equal(of_object.begin(), of_object.end(), maps.begin(), maps.end(),
                                      [](const bpf_map* map, const std::string& name) {
                                        return std::string(::bpf_map__name(map)).rfind(name, 0) == 0;
                                      });
  if (program == nullptr || !as_expected)
    return fail(Errc::internal, "an eBPF object of " + std::to_string(maps.size()) + " maps" +
                                    (maps.empty() ? "" : ", first " + maps.front() + ",") + " holds these: " + found);

  std::vector<PinnedMap> pinned_maps;
  for (bpf_map* map : of_object) {
    auto pinned = reuse_pinned(pins, map, words);
    if (!pinned) return Unexpected(pinned.error());
    pinned_maps.push_back(std::move(*pinned));
  }
  Adopted result;
  result.program.name = ::bpf_program__name(program);
  if (const int failed = ::bpf_object__load(object.get()); failed != 0) {
    const std::string why = failed == -EPERM ? " (needs root, or CAP_BPF and CAP_NET_ADMIN)" : "";
    return fail_errno(-failed, "load eBPF program " + result.program.name + why, words.text());
  }
  auto running = program_info(::bpf_program__fd(program));
  if (!running) return Unexpected(running.error());

  auto pinned_program = pins.open(result.program.name);
  if (!pinned_program) return Unexpected(pinned_program.error());
  if (pinned_program->valid()) {
    auto info = program_info(pinned_program->get());
    if (!info) return Unexpected(while_doing(info.error(), pins.path(result.program.name)));
    if (info->tag == running->tag && info->map_ids.size() == maps.size()) {
      running = std::move(info);
      result.program.fd = std::move(*pinned_program);
      result.pinned = true;
    }
  }
  if (!result.pinned) {
    auto fd = duplicate(::bpf_program__fd(program));
    if (!fd) return Unexpected(fd.error());
    result.program.fd = std::move(*fd);
  }
  result.program.tag = running->tag;
  result.program.id = running->id;
  for (size_t i = 0; i < maps.size(); ++i) {
    auto map = adopt_map(pinned_maps[i], of_object[i], *running, result.pinned);
    if (!map) return Unexpected(map.error());
    result.maps.push_back(std::move(*map));
  }
  return result;
}

Result<void> pin(const Pins& pins, Adopted& object) {
  if (object.is_pinned()) return {};
  if (auto made = pins.create(); !made) return made;
  for (AdoptedMap& map : object.maps) {
    if (map.pinned) continue;
    if (auto done = pins.pin(map.fd.get(), map.name); !done) return done;
    map.pinned = true;
  }
  if (!object.pinned) {
    if (auto done = pins.pin(object.program.fd.get(), object.program.name); !done) return done;
    object.pinned = true;
  }
  return {};
}

}  // namespace sepal::bpf
