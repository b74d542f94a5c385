// The program that holds tenants to the number of connections they may have, and its maps.
//
// In bpffs, per instance, beside what loader.hpp names: sepal_room, sepal_rooms, sepal_begun.
#pragma once

#include <set>

#include "base/net_types.hpp"
#include "bpf/loader.hpp"
#include "bpf/shared.h"

namespace sepal::bpf {

ObjectCode built_in_room_code();

class Rooms {
 public:
  // As SlowPath::load: loads the program, adopts what is pinned, pins nothing.
  static Result<Rooms> load(const Place& place, const ObjectCode& code = built_in_room_code());

  [[nodiscard]] const Program& program() const { return object_.program; }
  // Names this object has in bpffs.
  [[nodiscard]] std::vector<std::string> names() const { return object_.names(); }
  Result<void> pin() { return bpf::pin(pins_, object_); }

  // How many connections a tenant has begun, ever; counting begins with the first call for it.
  Result<uint64_t> begun(Vni vni);
  // What it may begin from now on.
  Result<void> give(Vni vni, const sepal_room& room);
  // No bound for others.
  Result<void> keep_only(const std::set<Vni>& bounded);

 private:
  enum Which : size_t { kRooms, kBegun };  // in the object's order
  Rooms(Pins pins, Adopted object) : pins_(std::move(pins)), object_(std::move(object)) {}

  [[nodiscard]] int fd(Which which) const { return object_.maps[which].fd.get(); }

  Pins pins_;
  Adopted object_;
};

}  // namespace sepal::bpf
