// See rooms.hpp.
#include "bpf/rooms.hpp"

#include <room.skel.h>

#include <cerrno>

#include "bpf/map_keys.hpp"

namespace sepal::bpf {

ObjectCode built_in_room_code() {
  ObjectCode code;
  code.bytes = ::room_bpf__elf_bytes(&code.size);
  return code;
}

Result<Rooms> Rooms::load(const Place& place, const ObjectCode& code) {
  auto pins = Pins::at(place.bpffs, place.instance);
  if (!pins) return Unexpected(pins.error());
  auto object = adopt(*pins, code, {"sepal_rooms", "sepal_begun"});
  if (!object) return Unexpected(object.error());
  return Rooms(std::move(*pins), std::move(*object));
}

Result<uint64_t> Rooms::begun(Vni vni) {
  const uint32_t key = vni.value();
  uint64_t begun = 0;
  if (::bpf_map_lookup_elem(fd(kBegun), &key, &begun) == 0) return begun;
  if (errno != ENOENT) return fail_errno(errno, "read how many connections VNI " + std::to_string(key) + " has begun");
  if (::bpf_map_update_elem(fd(kBegun), &key, &begun, BPF_NOEXIST) != 0)
    return fail_errno(errno, "count the connections that VNI " + std::to_string(key) + " begins");
  return begun;
}

Result<void> Rooms::give(Vni vni, const sepal_room& room) {
  const uint32_t key = vni.value();
  if (::bpf_map_update_elem(fd(kRooms), &key, &room, BPF_ANY) != 0)
    return fail_errno(errno, "bound the connections of VNI " + std::to_string(key));
  return {};
}

Result<void> Rooms::keep_only(const std::set<Vni>& bounded) {
  for (const Which which : {kRooms, kBegun}) {
    auto vnis = keys_of<uint32_t>(fd(which));
    if (!vnis) return Unexpected(vnis.error());
    for (const uint32_t vni : *vnis) {
      if (bounded.contains(Vni(vni))) continue;
      if (::bpf_map_delete_elem(fd(which), &vni) != 0 && errno != ENOENT)
        return fail_errno(errno, "no longer bound the connections of VNI " + std::to_string(vni));
    }
  }
  return {};
}

}  // namespace sepal::bpf
